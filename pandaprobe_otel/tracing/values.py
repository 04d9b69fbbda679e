"""Any Python value as JSON text, taken when it is given, so that later changes to it are not seen."""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from enum import Enum
from typing import Any, cast

# Deeper than any conversation; a structure that contains itself ends here.
_DEEPEST = 32


def to_json(value: object) -> str:
    """`value` as JSON text; what JSON has no form for becomes its nearest, at worst its `repr`."""
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError):
        text = json.dumps(_cleaned(value, 0), ensure_ascii=False)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _plain(value: Any) -> object:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return f"<{len(value)} bytes>"
    try:
        return _contents(value)
    except Exception as error:
        return f"<{type(value).__name__} that raises {type(error).__name__}>"


def _contents(value: Any) -> object:
    if hasattr(value, "model_dump"):
        return value.model_dump()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    return _plain_collection(value)


# Made once: `json.dumps` makes an encoder for every call that is not all defaults.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain).encode


def _plain_collection(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(cast("Mapping[Any, Any]", value))
    if isinstance(value, (set, frozenset)):
        return list(cast("Iterable[Any]", value))
    return repr(value)


def _cleaned(value: Any, depth: int) -> object:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth >= _DEEPEST:
        return f"<{type(value).__name__}>"
    if isinstance(value, dict):
        return {str(key): _cleaned(item, depth + 1) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_cleaned(item, depth + 1) for item in cast("list[Any]", value)]
    return _cleaned(_plain(value), depth + 1)
