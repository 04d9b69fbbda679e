"""The session of a request, for applications of WSGI: Flask, Django and others.

from pandaprobe_otel.session.wsgi import SessionMiddleware

app.wsgi_app = SessionMiddleware(app.wsgi_app, session_from="header:X-Session-Id")
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .decorating import Step
from .sources import From, Sources

Environ = dict[str, Any]
App = Callable[[Environ, Any], Iterable[bytes]]


class SessionMiddleware:
    """Gives everything that is done for a request the session that came with it.

    It holds for every step of a streamed body and its `close` too, and ends with the request, as does what
    `set_session` sets in it. A server span that is open joins the session; one that is opened inside has it.

        application = SessionMiddleware(get_wsgi_application(), session_from="cookie:chat")

    Args:
        app: The WSGI application.
        session_from: Where the session is: `header:NAME`, `cookie:NAME`, or a function of the WSGI environ.
        user_from: Where the user is, likewise.

    Raises:
        ValueError: When neither is given, or one is not understood.
    """

    def __init__(self, app: App, *, session_from: From = None, user_from: From = None) -> None:
        self.app = app
        self._sources = Sources[Environ](session_from, user_from, _header)

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        step = Step()
        with step:
            self._sources.hold(environ)
            body = self.app(environ, start_response)
        # No code runs for these, and servers do better when they see them: a length, or a file to send.
        if type(body) in (list, tuple, environ.get("wsgi.file_wrapper")):
            return body
        return _Body(body, step)


class _Body:
    """A body whose steps are taken inside the request's session, in whatever thread."""

    def __init__(self, body: Iterable[bytes], step: Step) -> None:
        self._body = body
        self._step = step
        self._items: Iterator[bytes] | None = None

    def __iter__(self) -> "_Body":
        return self

    def __next__(self) -> bytes:
        with self._step:
            if self._items is None:
                self._items = iter(self._body)
            return next(self._items)

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        if close is not None:
            with self._step:
                close()


def _header(environ: Environ, name: str) -> list[bytes]:
    value = environ.get(f"HTTP_{name.upper().replace('-', '_')}")
    # WSGI's texts are bytes read as Latin-1.
    return [] if value is None else [value.encode("latin-1")]
