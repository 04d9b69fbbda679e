"""Where the middlewares read the session and the user of a request from."""

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any, Generic, TypeVar

from ..guard import never_raises
from .identity import Source
from .scope import hold

R = TypeVar("R")

# "header:X-Session-Id", "cookie:chat", or a function of the request: the ASGI scope, the WSGI environ.
From = str | Callable[[Any], object] | None


class Sources(Generic[R]):
    """The session and the user of a request, each from where it was said to be.

    Args:
        session_from: Where the session is.
        user_from: Where the user is.
        header: Gives the values of a header of a request, undecoded.

    Raises:
        ValueError: When neither is given, or one is not understood.
    """

    def __init__(self, session_from: From, user_from: From, header: Callable[[R, str], list[bytes]]) -> None:
        given = {"session": session_from, "user": user_from}
        self._readers = {
            field: _reader(f"{field}_from", source, header) for field, source in given.items() if source
        }
        if not self._readers:
            raise ValueError(f"session_from or user_from says where the ids are: {_ACCEPTED}")

    def hold(self, request: R) -> None:
        """Has them hold from here on."""
        for field, read in self._readers.items():
            _hold(field, read, request)


_ACCEPTED = "'header:NAME', 'cookie:NAME' or a plain function of the request"


# Also where a function of the user's raises: its request is answered all the same.
@never_raises
def _hold(field: str, read: Callable[[R], object], request: R) -> None:
    id = read(request)
    # A framework's own id: weaker than what the code below sets, stronger than what travels as baggage.
    if id is not None:
        hold(field, id, Source.FRAMEWORK)


def _reader(
    keyword: str, source: str | Callable[[R], object], header: Callable[[R, str], list[bytes]]
) -> Callable[[R], object]:
    if not isinstance(source, str):
        if iscoroutinefunction(source):
            raise ValueError(f"{keyword} cannot be awaited; it is {_ACCEPTED}")
        return source
    kind, _, name = source.partition(":")
    if kind == "header" and name:
        return lambda request: next(map(_text, header(request, name)), None)
    if kind == "cookie" and name:
        return lambda request: _cookie(b";".join(header(request, "cookie")), name)
    raise ValueError(f"{keyword}={source!r} is not understood; it is {_ACCEPTED}")


def _cookie(header: bytes, wanted: str) -> str | None:
    # `http.cookies` gives up on the whole header at the first cookie that it does not like.
    for cookie in _text(header).split(";"):
        name, _, value = cookie.partition("=")
        if name.strip() == wanted:
            return value.strip().strip('"')
    return None


def _text(raw: bytes) -> str:
    # What browsers and HTTP clients send where an id is not ASCII; Latin-1 takes every byte.
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
