"""Images, audio and files in messages, as base64: what is too large becomes its type, size and hash."""

import json
import re
from base64 import b64decode
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from .. import media

# How OpenTelemetry, OpenAI, Anthropic and Google say the type of what stands beside it; JSON in JSON escapes
# its quotes.
_TYPE_BESIDE, _MODALITY_BESIDE = (
    re.compile(rf'"\w*(?:{names})\\*"\s*:\s*\\*"({media.TYPE})', re.IGNORECASE)
    for names in ("mime_?type|media_?type|format", "modality")
)
_CONTAINERS = (list, tuple, dict, MappingProxyType)
# Shorter texts in JSON may be words.
_WORD = 64


class MediaLimit:
    """Leaves out media of more than `max_bytes` bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        # Four characters for three bytes: nothing shorter is too large.
        self.characters = max_bytes * 4 // 3
        self._data_url = re.compile(
            rf"data:({media.TYPE})(?:;[^,;\"\s]{{1,100}}){{0,9}};base64,({_run(self.characters)})", re.ASCII
        )
        self._json_text = re.compile(rf'"({_run(max(self.characters, _WORD))})(?=\\*")', re.ASCII)

    def within(self, value: Any) -> Any:
        """The value of an attribute, with a summary in place of what is too large."""
        if isinstance(value, str):
            return self._text_within(value)
        # What cannot be read here has no messages in it.
        with suppress(Exception):
            if _is_nested(value):
                text = json.dumps(value, default=_plain)
                shorter = self._text_within(text)
                return value if shorter == text else json.loads(shorter)
        return value

    def _text_within(self, text: str) -> str:
        if len(text) <= self.characters:
            return text
        text = self._data_url.sub(lambda found: self._summary(found[1], found[2]) or found[0], text)
        if len(text) <= self.characters:
            return text
        return self._json_text.sub(self._in_json, text)

    def _in_json(self, found: re.Match[str]) -> str:
        # Media stands in an object that says its type; other text that looks like it stays.
        text = found.string
        beside = (
            text[text.rfind("{", 0, found.start()) + 1 : found.start()]
            + text[found.end() : text.find("}", found.end())]
        )
        said = _TYPE_BESIDE.search(beside) or _MODALITY_BESIDE.search(beside)
        summary = said and self._summary(said[1], found[1])
        return f'"{summary}' if summary else found[0]

    def _summary(self, type: str, base64: str) -> str | None:
        digits = base64.rstrip("=").replace("-", "+").replace("_", "/")
        # What an attribute limit has cut off may end anywhere.
        digits = digits[: len(digits) - (len(digits) % 4 == 1)]
        data = b64decode(digits + "=" * (-len(digits) % 4))
        return media.summary(data, type) if len(data) > self._max_bytes else None


def _is_nested(value: Any) -> bool:
    items: Any = value.values() if _is_mapping(value) else value
    return type(value) in _CONTAINERS and any(type(item) in (str, *_CONTAINERS) for item in items)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, (dict, MappingProxyType))


def _plain(value: Any) -> Any:
    return dict(value) if _is_mapping(value) else repr(value)


def _run(least: int) -> str:
    return rf"[\w+/-]{{{least},}}={{0,2}}"
