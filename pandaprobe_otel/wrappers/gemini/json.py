"""Requests and answers of Gemini's API as JSON, which LiteLLM makes: with the fields of google-genai."""

import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

from .._chat_messages import items
from .._genai.parts import decode_base64

_WORD = re.compile(r"(?<!^)(?=[A-Z])")
# What of it is the user's own.
_AS_GIVEN = frozenset({"args", "response", "parameters", "parameters_json_schema", "response_schema"})


def as_models(value: Any) -> Any:
    """Objects in place of what is JSON; anything else as it is."""
    if isinstance(value, list):
        return [as_models(item) for item in items(value)]
    return SimpleNamespace(**_fields(value)) if isinstance(value, Mapping) else value


def _fields(value: Any) -> dict[str, Any]:
    given = cast("Mapping[str, Any]", value)
    named = {_WORD.sub("_", name).lower(): held for name, held in given.items()}
    return {name: _field(name, held) for name, held in named.items()}


def _field(name: str, held: Any) -> Any:
    if name in _AS_GIVEN:
        return held
    if name == "tools":
        # What each is, is told by which of its fields there are.
        return [_fields(tool) if isinstance(tool, Mapping) else tool for tool in items(held)]
    # The bytes of a blob.
    return decode_base64(held) if name == "data" and isinstance(held, str) else as_models(held)
