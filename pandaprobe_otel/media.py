"""Media in a text: its type, size and hash instead of its bytes."""

import re
from hashlib import sha256

TYPE = r"[\w.+/-]{1,100}"
"""A media type, as a regular expression."""

_SUMMARY = re.compile(rf"\[{TYPE}, \d+ bytes, sha256 [0-9a-f]{{64}}\]")


def summary(data: bytes, type: str) -> str:
    """The text that stands for media, so that two of the same bytes are seen to be the same."""
    return f"[{type}, {len(data)} bytes, sha256 {sha256(data).hexdigest()}]"


def is_summary(value: object) -> bool:
    """Whether a text stands for media that has been left out."""
    return isinstance(value, str) and _SUMMARY.fullmatch(value) is not None
