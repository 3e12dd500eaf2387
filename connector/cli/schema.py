"""``failover-connector schema``."""

from __future__ import annotations

import typer

from connector.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, print_json, read_settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Print the JSON Schema of the settings or of the rules, the AsyncAPI of the topics, or the OpenAPI of the public port.",
)


@app.command()
def settings(_as_json: AsJson = True) -> None:
    """Print the JSON Schema of the settings file."""
    from connector.settings import settings_json_schema  # noqa: PLC0415 - keeps --help fast

    print_json(settings_json_schema())


@app.command()
def rules(_as_json: AsJson = True) -> None:
    """Print the JSON Schema of a rules file."""
    from connector.rules_file import rules_json_schema  # noqa: PLC0415 - keeps --help fast

    print_json(rules_json_schema())


@app.command()
def asyncapi(config: ConfigFile = DEFAULT_CONFIG, _as_json: AsJson = True) -> None:
    """Print the topics as an AsyncAPI 3 document: channels, messages and headers, as these settings make them. No internal topics."""
    from connector.cli.schema_asyncapi import asyncapi as document  # noqa: PLC0415 - keeps --help fast

    print_json(document(read_settings(config)))


@app.command()
def openapi(_as_json: AsJson = True) -> None:
    """Print the public port as an OpenAPI 3.1 document."""
    from connector.cli.schema_openapi import openapi as document  # noqa: PLC0415 - keeps --help fast

    print_json(document())
