"""The types of values that options have: how each is read, and what it accepts, in words."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, TypeVar, cast
from urllib.parse import urlsplit

T = TypeVar("T")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A type of value: how it is read, and what is accepted, in words."""

    name: str
    accepts: str
    read: Callable[[object], T]


def _read_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def read_flag(value: object) -> bool:
    """Reads the words for true and false."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word not in _FLAG_WORDS:
        raise ValueError
    return _FLAG_WORDS[word]


_FLAG_WORDS = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


def _read_count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError
    number = int(value)
    if number < 1:
        raise ValueError
    return number


def _read_seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError
    number = float(value)
    if not 0 < number < 1e6:
        raise ValueError
    return number


def _read_url(value: object) -> str:
    text = _read_text(value).strip().rstrip("/")
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError
    _ = parts.port
    return text


def _read_rate(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError
    return number


def _read_hosts(value: object) -> tuple[str, ...]:
    if not isinstance(value, Iterable):
        raise ValueError
    names = value.split(",") if isinstance(value, str) else cast("Iterable[object]", value)
    hosts = (_read_text(name).strip().lower() for name in names)
    return tuple(host for host in hosts if host)


def _read_function(value: object) -> Callable[..., Any]:
    if isinstance(value, str):
        module, _, name = value.strip().partition(":")
        try:
            value = getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ValueError from error
    if not callable(value):
        raise ValueError
    return value


def _one_of(*words: str) -> Kind[str]:
    def read(value: object) -> str:
        word = _read_text(value).strip().lower()
        if word not in words:
            raise ValueError
        return word

    name = f"{', '.join(words[:-1])} or {words[-1]}"
    return Kind(name, name, read)


TEXT = Kind("text", "text", _read_text)
FLAG = Kind("true or false", "true, false, 1, 0, yes, no, on or off", read_flag)
COUNT = Kind("whole number", "a whole number from 1", _read_count)
SECONDS = Kind("seconds", "a number of seconds above 0", _read_seconds)
PROTOCOL = _one_of("auto", "otlp", "rest")
SELECTION = _one_of("session", "all", "genai")
STAMP = _one_of("all", "own")
URL = Kind("URL", "a URL with http:// or https:// and a host", _read_url)
RATE = Kind("0 to 1", "a number from 0 to 1", _read_rate)
HOSTS = Kind("host names", "host names with commas between them", _read_hosts)
FUNCTION = Kind("function", "a function, in the environment as package.module:function", _read_function)
