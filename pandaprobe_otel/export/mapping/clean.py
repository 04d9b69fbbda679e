"""Values as PandaProbe's API and its database take them.

One bad value costs more than itself there: a NUL or a lone surrogate loses the whole trace after it was
accepted, a NaN makes the body unreadable, and a token count that is no int32 breaks every later read of the
project.
"""

import math
import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any, cast

MAX_NAME_LENGTH = 512
MAX_TEXT_LENGTH = 255
# Python's JSON encoder gives up at about 1,000.
MAX_DEPTH = 100

# Of a double. Python refuses to print integers of more than 4,300 digits.
_MAX_BITS = 1024
_MAX_INT32 = 2**31 - 1
# No sum of amounts may overflow, or PandaProbe's reads fail; no price and no duration is near it.
_MAX_AMOUNT = 1e15
_MAX_UINT64 = 2**64 - 1
_DIGEST_LENGTH = 32
_EPOCH = datetime(1970, 1, 1)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def clean_text(value: str) -> str:
    """The text with NUL and lone surrogates replaced."""
    # What most text is; both questions are answered without a look at every letter.
    if value.isascii() and "\0" not in value:
        return value
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)


def clean_json(value: Any, depth: int = MAX_DEPTH) -> Any:
    """The value as JSON can hold it: no NaN, no infinity, no unstorable text, nothing but JSON's types."""
    if isinstance(value, str):
        return clean_text(value)
    if value is None or value is True or value is False:
        return value
    if type(value) is dict and depth:
        # As below, for what nearly all values with parts are: an instance check of `Mapping` runs in Python.
        items = cast("dict[Any, Any]", value).items()
        return {clean_text(str(key)): clean_json(item, depth - 1) for key, item in items}
    if isinstance(value, int):
        return value if value.bit_length() <= _MAX_BITS else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (bytes, bytearray)):
        return b64encode(value).decode()
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        if not depth:
            return f"[nested deeper than {MAX_DEPTH} levels]"
        if isinstance(value, Mapping):
            pairs = cast("Mapping[Any, Any]", value).items()
            return {clean_text(str(key)): clean_json(item, depth - 1) for key, item in pairs}
        return [clean_json(item, depth - 1) for item in cast("list[Any]", value)]
    return clean_text(str(value))


def shortened(value: str, limit: int) -> str:
    """The text within a length, as it is when it fits."""
    return value if len(value) <= limit else value[: limit - 1] + "…"


def shortened_id(value: str) -> str:
    """The id within 255 characters; two ids never become one."""
    if len(value) <= MAX_TEXT_LENGTH:
        return value
    digest = sha256(value.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{value[: MAX_TEXT_LENGTH - _DIGEST_LENGTH - 1]}-{digest}"


def token_count(value: Any) -> int | None:
    """A count as a non-negative int32; None when it is no number."""
    if type(value) is int and 0 <= value <= _MAX_INT32:
        return value
    number = _number(value)
    return None if number is None else int(min(max(number, 0), _MAX_INT32))


def amount(value: Any) -> float | None:
    """A number whose sums stay finite; None when it is none."""
    number = _number(value)
    return None if number is None or abs(number) > _MAX_AMOUNT else number


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def timestamp(time_ns: int) -> str:
    """Nanoseconds since 1970 as ISO 8601 in UTC, with microseconds."""
    seconds, nanoseconds = divmod(min(max(time_ns, 0), _MAX_UINT64), 1_000_000_000)
    return f"{_second(seconds)}.{nanoseconds // 1000:06d}+00:00"


# The spans of a turn share a few seconds; to write each anew was a tenth of the mapping.
@lru_cache(256)
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()
