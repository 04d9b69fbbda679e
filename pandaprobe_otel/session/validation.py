"""Which values can be a session or user id, and what becomes of those that PandaProbe could not take."""

import hashlib
import logging
import re
from uuid import UUID

from ..guard import warn_once

_logger = logging.getLogger("pandaprobe_otel.session")

# PandaProbe refuses a whole trace whose session or user id is longer.
MAX_ID_LENGTH = 255
_DIGEST_LENGTH = 32
# Control characters (NUL loses the trace in PandaProbe's database) and lone surrogates (not in UTF-8).
_UNUSABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def clean_id(value: object, what: str) -> str | None:
    """An id as PandaProbe can keep it, or None for an empty one.

    Args:
        value: A `str`, `uuid.UUID` or `int`.
        what: "session" or "user", for the messages.

    Raises:
        TypeError: For any other type.
    """
    if isinstance(value, bool) or not isinstance(value, (str, UUID, int)):
        raise TypeError(f"a {what} id is a str, a uuid.UUID or an int, not {type(value).__name__}")
    text = str(value)
    if not text.strip():
        warn_once(
            _logger, f"empty {what}", "an empty %s id is ignored; give a %s a stable, unique id", what, what
        )
        return None
    # None of the unusable characters is printable, and asking that is eight times as fast as the pattern.
    if not text.isprintable() and (usable := _UNUSABLE.sub("\N{REPLACEMENT CHARACTER}", text)) != text:
        warn_once(_logger, f"unusable {what}", "control characters in a %s id are replaced", what)
        text = usable
    if len(text) > MAX_ID_LENGTH:
        warn_once(
            _logger, f"long {what}", "a %s id of over %d characters is shortened to them", what, MAX_ID_LENGTH
        )
        digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
        text = f"{text[: MAX_ID_LENGTH - _DIGEST_LENGTH - 1]}-{digest}"
    if what == "session" and "/" in text:
        warn_once(_logger, "slash", "a session id with a '/' is kept, but PandaProbe cannot open its page")
    return text
