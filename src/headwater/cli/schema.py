"""`headwater schema`: the JSON Schema of the configuration, for editors and for checks."""

from __future__ import annotations

from headwater.cli.output import flush, say


def schema() -> None:
    """Print the JSON Schema of the configuration file.

    `headwater init` writes it beside the configuration, whose first line names it to editors. After an upgrade:
    `headwater schema > headwater.schema.json`.
    """
    from headwater.settings.json_schema import text

    for line in text().splitlines():
        say(line)
    flush()
