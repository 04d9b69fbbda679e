"""Session, user and turn as one text that only a holder of the project's API key can make.

It holds the ids themselves, in letters that no encoder of baggage touches: others write a space as `+`, leave
a `+` as it is, or trim what they decode, and an id must not become another one on its way.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import lru_cache
from typing import NamedTuple

_VERSION = "1"
_LABEL = b"pandaprobe-otel baggage 1\n"
# 128 bits.
_MAC_BYTES = 16
# Three ids of 255 characters of four bytes each, in base64, are less.
_MOST_CHARACTERS = 4096


class Ids(NamedTuple):
    """What goes from one service to the next.

    Args:
        turn: `Turn.text`.
    """

    session_id: str | None = None
    user_id: str | None = None
    turn: str | None = None


def signing_key(api_key: str | None, project_name: str | None) -> bytes | None:
    """The key of a project; None where there is no secret to derive one from."""
    if not api_key:
        return None
    return hmac.digest(api_key.encode(), _LABEL + (project_name or "").encode(), "sha256")


@lru_cache(1024)
def sealed(ids: Ids, key: bytes | None) -> str:
    """The ids with their signature, which is empty without a key."""
    text = "\n".join(id or "" for id in ids)
    body = f"{_VERSION}.{_to_base64(text.encode(errors='replace'))}"
    return f"{body}.{_mac(body, key) if key else ''}"


def opened(text: str, key: bytes | None, *, unsigned: bool = False) -> Ids | None:
    """The ids of a text that was made with the key.

    Args:
        text: What `sealed` made, or anything.
        key: The key; without one nothing is signed rightly.
        unsigned: Whether the signature does not matter.
    """
    body, _, mac = text.rpartition(".")
    version, _, payload = body.partition(".")
    if version != _VERSION or len(text) > _MOST_CHARACTERS or not text.isascii():
        return None
    if not unsigned and not (key and hmac.compare_digest(_mac(body, key).encode(), mac.encode())):
        return None
    try:
        ids = urlsafe_b64decode(payload + "==").decode().split("\n")
    except ValueError:
        return None
    return Ids(*(id or None for id in ids)) if len(ids) == len(Ids._fields) else None


def _mac(body: str, key: bytes) -> str:
    return _to_base64(hmac.digest(key, body.encode(), "sha256")[:_MAC_BYTES])


def _to_base64(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")
