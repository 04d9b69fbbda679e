"""What messages and tools on a span look like, after OpenTelemetry's GenAI conventions."""

import json
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator

_TEXT = {"type": "string"}
_PART_FIELDS: dict[str, dict[str, Any]] = {
    "text": {"content": _TEXT},
    "reasoning": {"content": _TEXT},
    "tool_call": {"name": _TEXT},
    "tool_call_response": {"response": True},
    "blob": {"modality": _TEXT, "content": _TEXT},
    "file": {"modality": _TEXT, "file_id": _TEXT},
    "uri": {"modality": _TEXT, "uri": _TEXT},
    "server_tool_call": {"name": _TEXT, "server_tool_call": {"type": "object"}},
    "server_tool_call_response": {"server_tool_call_response": {"type": "object"}},
}
_PART = {
    "oneOf": [
        {"properties": {"type": {"const": name}, **fields}, "required": ["type", *fields]}
        for name, fields in _PART_FIELDS.items()
    ]
}
_PARTS = {"type": "array", "items": _PART}
_MESSAGE = {
    "properties": {"role": {"enum": ["system", "user", "assistant", "tool"]}, "parts": _PARTS},
    "required": ["role", "parts"],
}
_ANSWER = {
    "properties": {**_MESSAGE["properties"], "finish_reason": {"type": ["string", "null"]}},
    "required": ["role", "parts", "finish_reason"],
}
_TOOL = {"properties": {"type": _TEXT, "name": _TEXT}, "required": ["type", "name"]}

_SCHEMAS = {
    "gen_ai.system_instructions": _PARTS,
    "gen_ai.input.messages": {"type": "array", "items": _MESSAGE, "minItems": 1},
    "gen_ai.output.messages": {"type": "array", "items": _ANSWER, "minItems": 1},
    "gen_ai.tool.definitions": {"type": "array", "items": _TOOL, "minItems": 1},
}


def check(attributes: Mapping[str, Any]) -> None:
    """The content on a span is what its schemas say."""
    for name, schema in _SCHEMAS.items():
        if name in attributes:
            Draft202012Validator(schema).validate(json.loads(attributes[name]))
