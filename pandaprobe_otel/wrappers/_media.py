"""Images, audio and files in requests and answers: their type, size and hash instead of their bytes."""

import os
import re
from base64 import b64decode
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, cast

from .. import media

_UNKNOWN = "application/octet-stream"
# Fields that SDKs have base64 in.
_BASE64 = frozenset({"b64_json", "partial_image_b64", "image_base64", "audio_data"})
_DATA_URL = re.compile(r"data:([\w.+/-]{1,100})(?:;[^,;]{1,100}){0,9};base64,(.*)", re.DOTALL)


def without_media(value: Any) -> Any:
    """The value with a summary in place of what is media, and plain enough for JSON.

    What is open to be read stays unread, and is told by its name.
    """
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        found = _DATA_URL.fullmatch(value)
        return _of_base64(found[2], found[1]) if found else value
    if isinstance(value, (bytes, bytearray)):
        return _summary(bytes(value))
    if isinstance(value, os.PathLike):
        return f"[{PurePath(cast('os.PathLike[str]', value)).name}]"
    if hasattr(value, "read") and not hasattr(value, "iter_bytes"):
        return f"[{PurePath(str(getattr(value, 'name', 'file'))).name}]"
    if isinstance(value, (list, tuple)):
        return [without_media(item) for item in cast("list[Any]", value)]
    return _of_object(value)


def field_without_media(name: str, held: Any) -> Any:
    """`without_media` of a field, whose name says where its text is base64."""
    if name in _BASE64 and isinstance(held, str):
        return without_media(held) if held.startswith("data:") else _of_base64(held, _UNKNOWN)
    return without_media(held)


def _of_object(value: Any) -> Any:
    if hasattr(value, "iter_bytes"):
        # Speech. Where it is streamed, the caller reads it.
        response = getattr(value, "response", None)
        if not getattr(response, "is_stream_consumed", False):
            return None
        return _summary(value.content, value.response.headers.get("content-type", _UNKNOWN))
    if hasattr(value, "model_dump"):
        value = value.model_dump(exclude_none=True)
    if not isinstance(value, Mapping):
        return str(value)
    fields = cast("Mapping[str, Any]", value)
    return {name: field_without_media(name, held) for name, held in fields.items()}


def _of_base64(digits: str, type: str) -> str:
    digits = digits.rstrip("=")
    return _summary(b64decode(digits + "=" * (-len(digits) % 4)), type)


def _summary(data: bytes, type: str = _UNKNOWN) -> str:
    return media.summary(data, type.partition(";")[0])
