"""PandaProbe's own OpenAPI document, as a judge of bodies."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

_DOCUMENT = json.loads((Path(__file__).parent / "data" / "pandaprobe-openapi.json").read_text())
_SCHEMAS = _DOCUMENT["components"]["schemas"]
_REGISTRY: Registry[Any] = Registry().with_resource("urn:api", Resource(_DOCUMENT, DRAFT202012))

_formats = FormatChecker(["uuid"])


@_formats.checks("date-time", raises=ValueError)
def _is_time(text: object) -> bool:
    return not isinstance(text, str) or datetime.fromisoformat(text).tzinfo is not None


def check(body: Any, name: str, *, whole: bool = True) -> None:
    """The body is what the schema of this name says, and has every field of it and no other.

    Args:
        whole: False for a body that may lack fields.
    """
    json.dumps(body, allow_nan=False).encode()
    schema = {"$ref": f"urn:api#/components/schemas/{name}"}
    Draft202012Validator(schema, registry=_REGISTRY, format_checker=_formats).validate(body)
    if whole:
        _check_fields(body, name)
    else:
        assert set(body) <= set(_SCHEMAS[name]["properties"])


def _check_fields(body: dict[str, Any], name: str) -> None:
    fields = _SCHEMAS[name]["properties"]
    assert set(body) == set(fields)
    for field, schema in fields.items():
        if "$ref" in schema.get("items", {}):
            for item in body[field]:
                _check_fields(item, schema["items"]["$ref"].rpartition("/")[2])
