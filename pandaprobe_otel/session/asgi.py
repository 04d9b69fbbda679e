"""The session of a request, for applications of ASGI: Starlette, FastAPI, Django and others.

from pandaprobe_otel.session.asgi import SessionMiddleware

app.add_middleware(SessionMiddleware, session_from="header:X-Session-Id")
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .decorating import Step
from .sources import From, Sources

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class SessionMiddleware:
    """Gives everything that is done for a request, or in a websocket, the session that came with it.

    It holds for streamed bodies and background tasks too, and ends with the request, as does what
    `set_session` sets in it. A server span that is open joins the session; one that is opened inside has it.

        app = SessionMiddleware(app, session_from="cookie:chat", user_from=lambda scope: scope["user"].id)

    Args:
        app: The ASGI application.
        session_from: Where the session is: `header:NAME`, `cookie:NAME`, or a function of the ASGI scope.
        user_from: Where the user is, likewise.

    Raises:
        ValueError: When neither is given, or one is not understood.
    """

    def __init__(self, app: App, *, session_from: From = None, user_from: From = None) -> None:
        self.app = app
        self._sources = Sources[Scope](session_from, user_from, _header)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        with Step():
            self._sources.hold(scope)
            await self.app(scope, receive, send)


def _header(scope: Scope, name: str) -> list[bytes]:
    wanted = name.lower().encode()
    return [value for key, value in scope["headers"] if key.lower() == wanted]
