"""``failover-connector schema``."""

from __future__ import annotations

import typer

from connector.cli.options import AsJson, print_json

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Print the JSON Schema of the settings or of the rules, for editors and CI."
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
