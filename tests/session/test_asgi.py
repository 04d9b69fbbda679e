"""The session of a request behind uvicorn: how far it reaches, and where it ends."""

import asyncio
import logging
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from web_servers import asgi, get

import pandaprobe_otel as pandaprobe
from pandaprobe_otel import guard
from pandaprobe_otel.session.asgi import SessionMiddleware

pytest.importorskip("starlette", reason="starlette is in the extra `local`")
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

Probe = Callable[..., str | None]


class Outside:
    """A server instrumentation: opens a span in the context that came with the request, which is empty."""

    def __init__(self, app: Any, tracer: trace.Tracer, spans: list[Any]) -> None:
        self.app, self.tracer, self.spans = app, tracer, spans

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        token = attach(Context())
        with self.tracer.start_as_current_span("server") as span:
            self.spans.append(span)
            await self.app(scope, receive, send)
        detach(token)


@pytest.fixture
def app(probe: Probe) -> Starlette:
    def answer(_: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{probe()} {pandaprobe.current_user()}")

    async def answer_async(_: Request) -> PlainTextResponse:
        in_task = await asyncio.create_task(asyncio.to_thread(probe))
        return PlainTextResponse(f"{probe()} {in_task}")

    async def stream(_: Request) -> StreamingResponse:
        async def body() -> AsyncIterator[str]:
            for _ in range(3):
                await asyncio.sleep(0)
                yield f"{probe()} "

        return StreamingResponse(body())

    def stream_sync(_: Request) -> StreamingResponse:
        def body() -> Iterator[str]:
            for _ in range(3):
                yield f"{probe()} "

        return StreamingResponse(body())

    async def set_in_code(_: Request) -> PlainTextResponse:
        framework = probe()
        pandaprobe.set_session("set")
        with pandaprobe.session("block"):
            return PlainTextResponse(f"{framework} {pandaprobe.current_session()}")

    async def fail(_: Request) -> None:
        raise ZeroDivisionError(probe())

    routes = [answer, answer_async, stream, stream_sync, set_in_code, fail]
    return Starlette(routes=[Route(f"/{route.__name__}", route) for route in routes])


def test_session_and_user_come_from_headers(app: Starlette) -> None:
    sourced = SessionMiddleware(app, session_from="header:X-Session-Id", user_from="header:x-user")
    with asgi(sourced) as port:
        assert get(port, "/answer", X_Session_Id="s", X_User="u") == "s u"
        assert get(port, "/answer", X_Session_Id="s") == "s None"
        assert get(port, "/answer") == "None None"


def test_session_comes_from_a_cookie(app: Starlette) -> None:
    with asgi(SessionMiddleware(app, session_from="cookie:chat")) as port:
        assert get(port, "/answer", Cookie='b{ad; chats=0; chat="s"; last=1') == "s None"
        assert get(port, "/answer", Cookie="other=s") == "None None"


def test_session_comes_from_a_function_of_the_scope(app: Starlette) -> None:
    with asgi(SessionMiddleware(app, session_from=lambda scope: scope["path"].strip("/"))) as port:
        assert get(port, "/answer") == "answer None"


@pytest.mark.parametrize("path", ["/answer_async", "/stream", "/stream_sync"])
def test_session_reaches_tasks_threads_and_the_whole_body(app: Starlette, path: str) -> None:
    with asgi(SessionMiddleware(app, session_from="header:X-Session-Id")) as port:
        assert set(get(port, path, X_Session_Id="s").split()) == {"s"}


def test_session_reaches_background_tasks(probe: Probe) -> None:
    seen: list[Any] = []
    done = threading.Event()

    async def background() -> None:
        await asyncio.sleep(0)
        seen.append(probe())
        done.set()

    async def answer(_: Request) -> PlainTextResponse:
        return PlainTextResponse("", background=BackgroundTask(background))

    app = Starlette(routes=[Route("/", answer)])
    app.add_middleware(SessionMiddleware, session_from="header:X-Session-Id")
    with asgi(app) as port:
        get(port, X_Session_Id="s")
        assert done.wait(5)
    assert seen == ["s"]


@pytest.mark.parametrize("ours_is_outer", [True, False])
def test_server_span_joins_whichever_middleware_is_outer(
    app: Starlette, tracer: trace.Tracer, ours_is_outer: bool
) -> None:
    spans: list[Any] = []
    wrap = {
        True: lambda: SessionMiddleware(Outside(app, tracer, spans), session_from="header:X-Session-Id"),
        False: lambda: Outside(SessionMiddleware(app, session_from="header:X-Session-Id"), tracer, spans),
    }
    with asgi(wrap[ours_is_outer]()) as port:
        assert get(port, "/answer", X_Session_Id="s") == "s None"
        assert get(port, "/answer") == "None None"
    assert [span.attributes.get("session.id") for span in spans] == ["s", None]


def test_what_code_says_wins_and_ends_with_the_request(app: Starlette) -> None:
    with asgi(SessionMiddleware(app, session_from="header:X-Session-Id")) as port:
        assert get(port, "/set_in_code", X_Session_Id="s") == "s block"
        assert get(port, "/answer") == "None None"


def test_requests_that_interleave_do_not_mix(probe: Probe) -> None:
    count = 8
    here: list[Request] = []
    all_here = asyncio.Event()

    async def answer(request: Request) -> StreamingResponse:
        here.append(request)
        if len(here) == count:
            all_here.set()
        await all_here.wait()

        async def body() -> AsyncIterator[str]:
            for _ in range(10):
                await asyncio.sleep(0)
                yield f"{probe()} "

        return StreamingResponse(body())

    app = SessionMiddleware(Starlette(routes=[Route("/", answer)]), session_from="header:X-Session-Id")
    with asgi(app) as port, ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(lambda number: get(port, X_Session_Id=f"s{number}"), range(count)))
    assert [set(answer.split()) for answer in answers] == [{f"s{number}"} for number in range(count)]


def test_session_ends_with_a_request_that_fails(app: Starlette, caplog: pytest.LogCaptureFixture) -> None:
    with asgi(SessionMiddleware(app, session_from="header:X-Session-Id")) as port:
        assert get(port, "/fail", X_Session_Id="s") == "Internal Server Error"
        assert get(port, "/answer") == "None None"
    (raised,) = [record.exc_info for record in caplog.records if record.exc_info]
    assert isinstance(raised[1], ZeroDivisionError)
    assert str(raised[1]) == "s"


async def test_session_ends_with_a_request_that_is_cut_off(probe: Probe) -> None:
    at_the_end: list[Any] = []
    waits = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            waits.set()
            await asyncio.sleep(60)
        finally:
            at_the_end.append(probe())

    async def request() -> None:
        scope = {"type": "websocket", "headers": [(b"x-session-id", b"s")]}
        try:
            await SessionMiddleware(app, session_from="header:X-Session-Id")(scope, None, None)  # type: ignore[arg-type]
        except asyncio.CancelledError:
            at_the_end.append(probe())

    task = asyncio.create_task(request())
    await waits.wait()
    task.cancel()
    await task
    assert at_the_end == ["s", None]


def test_session_ends_with_a_client_that_goes_away(app: Starlette, probe: Probe) -> None:
    at_the_end: list[Any] = []
    ended = threading.Event()

    async def endless(_: Request) -> StreamingResponse:
        async def body() -> AsyncIterator[str]:
            try:
                while True:
                    yield "."
                    await asyncio.sleep(0.001)
            finally:
                at_the_end.append(probe())
                ended.set()

        return StreamingResponse(body())

    app.router.routes.append(Route("/endless", endless))
    with asgi(SessionMiddleware(app, session_from="header:X-Session-Id")) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET /endless HTTP/1.1\r\nHost: here\r\nX-Session-Id: s\r\n\r\n")
            assert client.recv(1 << 16)
        assert ended.wait(5)
        assert get(port, "/answer") == "None None"
    assert at_the_end == ["s"]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("Gespräch 7 🐼", "Gespräch 7 🐼"),
        ("x" * 300, "x" * 222 + "-"),
        ("a\x85b", "a\N{REPLACEMENT CHARACTER}b"),
        (" ", "None"),
    ],
)
def test_id_from_outside_is_cleaned(app: Starlette, sent: str, kept: str) -> None:
    with asgi(SessionMiddleware(app, session_from="header:X-Session-Id")) as port:
        answer = get(port, "/answer", X_Session_Id=sent)
    assert answer.startswith(kept)
    assert len(answer.removesuffix(" None")) <= 255


def test_request_is_answered_when_the_function_raises(
    app: Starlette, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(guard, "loud", False)
    sourced = SessionMiddleware(
        app, session_from=lambda scope: scope["secret"], user_from=lambda scope: {"not": "an id"}
    )
    with asgi(sourced) as port:
        assert get(port, "/answer") == "None None"
        assert get(port, "/answer") == "None None"
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warned) == 2
    assert "KeyError" in warned[0]
    assert "TypeError" in warned[1]


async def scope_to_id(scope: Any) -> str:
    return "s"


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        ({}, "session_from or user_from says where the ids are"),
        (
            {"session_from": "X-Session-Id"},
            "'X-Session-Id' is not understood; it is 'header:NAME'",
        ),
        ({"session_from": "cookie:"}, "session_from='cookie:' is not understood"),
        ({"user_from": scope_to_id}, "user_from cannot be awaited; it is .* a plain function"),
    ],
)
def test_source_that_cannot_be_is_refused_at_once(arguments: Any, fix: str) -> None:
    with pytest.raises(ValueError, match=fix):
        SessionMiddleware(Starlette(), **arguments)
