"""The JSON Schema of the configuration, so that an editor completes and checks it while it is written.

Pydantic says what each setting is; here that becomes what a person may write: texts with units instead of numbers,
`${env:NAME}` in the place of any value, and no key that is null.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from headwater.settings.outline import Key, keys
from headwater.settings.reference import default_of
from headwater.settings.schema import Settings
from headwater.settings.values import Section

#: What `headwater init` writes beside the configuration.
FILE_NAME = "headwater.schema.json"

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE = {
    "type": "string",
    "pattern": r"\$\{env:[A-Za-z_][A-Za-z0-9_]*\}",
    "description": "`${env:NAME}` is the environment variable NAME.",
}
_BOUNDS = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}


def text() -> str:
    """Return the schema as JSON, to be written into a file."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def json_schema() -> dict[str, Any]:
    """Return the schema of the whole file (draft 2020-12)."""
    made = Settings.model_json_schema()
    definitions = made.pop("$defs")
    for section in _sections(Settings):
        _complete(section, made if section is Settings else _object(definitions[section.__name__]))
    return {
        "$schema": _DIALECT,
        "title": "Headwater's configuration",
        **_written(made),
        "$defs": {"reference": _REFERENCE} | {name: _written(it) for name, it in definitions.items()},
    }


def _sections(root: type[Section]) -> Iterator[type[Section]]:
    yield root
    for key in keys(root).values():
        if key.section:
            yield from _sections(key.section)


def _object(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the mapping, of a section that may be written as a text as well."""
    return next((it for it in schema.get("anyOf", ()) if it.get("type") == "object"), schema)


def _complete(section: type[Section], schema: dict[str, Any]) -> None:
    """Add the defaults as they are written. What `load` fills in from elsewhere is not required either."""
    for key in keys(section).values():
        default = default_of(key)
        if default is not None:
            schema["properties"][key.name]["default"] = default
        if _filled_in(key) and key.name in schema.get("required", ()):
            schema["required"].remove(key.name)
    if not schema.get("required", True):
        del schema["required"]


def _filled_in(key: Key) -> bool:
    return key.name in ("log", "index")


def _written(schema: Any) -> Any:
    """Turn a schema of what the settings hold into one of what stands in the file."""
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Any] = {
        _BOUNDS.get(str(word), str(word)): value for word, value in schema.items() if word != "title"
    }
    if "default" in made and made["default"] is None:
        del made["default"]
    choices = [_written(it) for it in made.pop("anyOf", ()) if it != {"type": "null"}]
    if len(choices) == 1:
        made = {**choices[0], **made}
    elif choices:
        made["anyOf"] = choices
    if "properties" in made:
        made["properties"] = {name: _written(it) for name, it in made["properties"].items()}
    if "items" in made:
        made["items"] = _written(made["items"])
    return _referable(_by_name(made))


def _by_name(schema: dict[str, Any]) -> dict[str, Any]:
    """Say of a mapping whose keys the user chooses what a name is, and that no other is one."""
    if "patternProperties" not in schema:
        return schema
    ((pattern, inner),) = schema.pop("patternProperties").items()
    least = {"minProperties": schema.pop("minLength")} if "minLength" in schema else {}
    return {**schema, **least, "propertyNames": {"pattern": pattern}, "additionalProperties": _written(inner)}


def _referable(schema: dict[str, Any]) -> dict[str, Any]:
    """Let the environment give a value: what it comes to is not known to an editor."""
    anything = schema.get("type") == "string" and not {"pattern", "enum", "const", "minLength", "maxLength"} & {*schema}
    is_scalar = schema.get("type") in ("string", "integer", "number", "boolean") or {"enum", "const"} & {*schema}
    if anything or not is_scalar:
        return schema
    around: dict[str, Any] = {
        word: schema.pop(word) for word in ("description", "default", "examples") if word in schema
    }
    return {**around, "anyOf": [schema, {"$ref": "#/$defs/reference"}]}
