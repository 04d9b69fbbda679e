"""The session of a request behind wsgiref's server: how far it reaches, and where it ends."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from web_servers import get, wsgi

import pandaprobe_otel as pandaprobe
from pandaprobe_otel.session.wsgi import SessionMiddleware

Probe = Callable[..., str | None]


@pytest.fixture
def app(probe: Probe) -> Any:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        said = f"{probe()} {pandaprobe.current_user()}"
        if environ["PATH_INFO"] == "/set":
            pandaprobe.set_session("set")
            said = f"{said} {probe()}"
        return [said.encode()]

    return app


@pytest.fixture
def streaming(probe: Probe) -> Any:
    class Body:
        def __init__(self) -> None:
            self.closed_in: list[str | None] = []

        def __call__(self, environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [])
            return self

        def __iter__(self) -> Iterator[bytes]:
            for _ in range(3):
                yield f"{probe()} ".encode()

        def close(self) -> None:
            self.closed_in.append(probe())

    return Body()


def test_session_and_user_come_with_the_request_and_go_with_it(app: Any) -> None:
    sourced = SessionMiddleware(
        app, session_from="header:X-Session-Id", user_from=lambda environ: environ["QUERY_STRING"] or None
    )
    with wsgi(sourced) as port:
        assert get(port, "/?u", X_Session_Id="s") == "s u"
        assert get(port) == "None None"


def test_session_comes_from_a_cookie(app: Any) -> None:
    with wsgi(SessionMiddleware(app, session_from="cookie:chat")) as port:
        assert get(port, Cookie="a=1; chat=Gespräch") == "Gespräch None"


def test_session_reaches_every_step_of_the_body_and_its_end(streaming: Any) -> None:
    with wsgi(SessionMiddleware(streaming, session_from="header:X-Session-Id")) as port:
        assert get(port, X_Session_Id="s") == "s s s "
    assert streaming.closed_in == ["s"]


def test_body_is_outside_between_its_steps_and_in_any_thread(
    streaming: Any, probe: Probe, clean: Callable[..., Any]
) -> None:
    app = SessionMiddleware(streaming, session_from="header:X-Session-Id")
    body: Any = app({"HTTP_X_SESSION_ID": "s"}, lambda *_: None)
    steps = iter(body)
    assert probe() is None
    assert next(steps) == b"s "
    assert probe() is None
    assert clean(lambda: next(steps)) == b"s "
    body.close()
    assert (streaming.closed_in, probe()) == (["s"], None)


def test_what_is_set_in_one_request_is_not_there_in_the_next_of_the_thread(app: Any) -> None:
    sourced = SessionMiddleware(app, session_from="header:X-Session-Id")

    def request(path: str, **headers: str) -> bytes:
        return b"".join(sourced({"PATH_INFO": path, **headers}, lambda *_: None))

    assert request("/set", HTTP_X_SESSION_ID="s") == b"s None set"
    assert request("/") == b"None None"


@pytest.mark.parametrize("ours_is_outer", [True, False])
def test_server_span_joins_whichever_middleware_is_outer(
    app: Any, tracer: trace.Tracer, ours_is_outer: bool
) -> None:
    spans: list[Any] = []

    def instrumented(app: Any) -> Any:
        # With the context that came with the request, which is empty.
        def outside(environ: Any, start_response: Any) -> Any:
            token = attach(Context())
            with tracer.start_as_current_span("server") as span:
                spans.append(span)
                body = app(environ, start_response)
            detach(token)
            return body

        return outside

    def ours(app: Any) -> Any:
        return SessionMiddleware(app, session_from="header:X-Session-Id")

    with wsgi(ours(instrumented(app)) if ours_is_outer else instrumented(ours(app))) as port:
        assert get(port, X_Session_Id="s") == "s None"
    assert [span.attributes.get("session.id") for span in spans] == ["s"]


def test_requests_at_once_do_not_mix(probe: Probe) -> None:
    count = 6
    all_here = threading.Barrier(count)

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        all_here.wait(5)
        for _ in range(10):
            yield f"{probe()} ".encode()

    sourced = SessionMiddleware(app, session_from="header:X-Session-Id")
    with wsgi(sourced) as port, ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(lambda number: get(port, X_Session_Id=f"s{number}"), range(count)))
    assert [set(answer.split()) for answer in answers] == [{f"s{number}"} for number in range(count)]


def test_error_of_the_application_passes_and_the_session_ends(probe: Probe) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        raise ZeroDivisionError(probe())

    with pytest.raises(ZeroDivisionError, match="s"):
        SessionMiddleware(app, session_from="header:X-Session-Id")(
            {"HTTP_X_SESSION_ID": "s"}, lambda *_: None
        )
    assert probe() is None


def test_servers_see_lists_and_files_as_they_are() -> None:
    class File:
        def __iter__(self) -> Iterator[bytes]:
            yield b"x"

    for body in ([b"x"], (b"x",), File()):
        app = SessionMiddleware(lambda *_, body=body: body, session_from="header:X-Session-Id")
        assert app({"wsgi.file_wrapper": File}, lambda *_: None) is body
