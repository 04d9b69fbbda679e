"""The query parameters of a request, and PandaProbe's answer to those that are wrong."""

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import TypeVar

from starlette.datastructures import QueryParams

from .rows import microseconds

_T = TypeVar("_T")
_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})
_FALSE = frozenset({"0", "false", "f", "no", "n", "off"})


class InvalidParameter(Exception):
    """A parameter whose value is not of its type.

    Args:
        field: Where it stands, as PandaProbe says it: `query -> limit`.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Parameters:
    """Reads the query of a request.

    Every method gives the default, or None, for a parameter that is not there, and raises `InvalidParameter`
    for a wrong one.
    """

    def __init__(self, query: QueryParams) -> None:
        self._query = query

    def text(self, name: str) -> str | None:
        return self._query.get(name)

    def texts(self, name: str) -> list[str]:
        return self._query.getlist(name)

    def number(self, name: str, default: int, least: int, most: int | None = None) -> int:
        value = self._read(name, int, "Input should be a valid integer")
        if value is None:
            return default
        if value < least:
            raise InvalidParameter(f"query -> {name}", f"Input should be greater than or equal to {least}")
        if most is not None and value > most:
            raise InvalidParameter(f"query -> {name}", f"Input should be less than or equal to {most}")
        return value

    def flag(self, name: str) -> bool | None:
        return self._read(name, _flag, "Input should be a valid boolean")

    def time(self, name: str) -> int | None:
        """Microseconds since 1970."""
        return self._read(name, _time, "Input should be a valid datetime")

    def choice(self, name: str, choices: Mapping[str, _T], default: str) -> _T:
        options = " or ".join(f"'{choice}'" for choice in choices)
        chosen = self._read(name, lambda word: choices[word], f"Input should be {options}")
        return choices[default] if chosen is None else chosen

    def _read(self, name: str, read: Callable[[str], _T], message: str) -> _T | None:
        text = self._query.get(name)
        if text is None:
            return None
        try:
            return read(text)
        except (ValueError, KeyError, OverflowError) as error:
            raise InvalidParameter(f"query -> {name}", message) from error


def _flag(text: str) -> bool:
    word = text.lower()
    if word in _TRUE | _FALSE:
        return word in _TRUE
    raise ValueError


def _time(text: str) -> int:
    try:
        return microseconds(datetime.fromtimestamp(float(text), timezone.utc))
    except ValueError:
        # Python 3.10 does not know the Z.
        return microseconds(datetime.fromisoformat(text.replace("Z", "+00:00")))
