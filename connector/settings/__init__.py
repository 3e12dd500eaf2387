"""The settings: one frozen tree, parsed once, from one YAML file and the environment over it (names and defaults: README, "Settings").

Everything wrong is found at once, each with its ``file:line`` or environment variable; an unknown key stops the start. Secrets are
``SecretStr``: neither repr nor logs nor ``redacted`` show them.

``tree``: names and defaults · ``types``: how values are written · ``layers``: file, environment, secret files, and who said what ·
``checks``: what only goes wrong together · ``source``: reading and showing.
"""

from connector.settings.checks import OWNED_PROPERTIES
from connector.settings.source import advice, dotted, load_settings, redacted, settings_json_schema
from connector.settings.tree import FIELDS, Settings, TopicNames
from connector.settings.types import milliseconds

__all__ = [
    "FIELDS",
    "OWNED_PROPERTIES",
    "Settings",
    "TopicNames",
    "advice",
    "dotted",
    "load_settings",
    "milliseconds",
    "redacted",
    "settings_json_schema",
]
