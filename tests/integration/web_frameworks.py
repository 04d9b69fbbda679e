"""Serves with every web framework, instrumented by OpenTelemetry, and makes requests with a session each.

A request's session is its label; every span that its handler makes is named after it.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Thread
from typing import Any

from opentelemetry import trace
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.starlette import StarletteInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from web_servers import asgi, get, wsgi

import pandaprobe_otel as pandaprobe
from pandaprobe_otel.session.asgi import SessionMiddleware as Asgi
from pandaprobe_otel.session.wsgi import SessionMiddleware as Wsgi

SOURCES = {"session_from": "header:X-Session-Id", "user_from": "cookie:user"}


def work(label: str) -> None:
    trace.get_tracer("app").start_span(f"{label} step").end()


def steps(label: str) -> Iterator[str]:
    for _ in range(3):
        time.sleep(0.002)
        work(label)
        yield "."


def fastapi(ours_is_outer: bool) -> Any:
    from fastapi import BackgroundTasks, FastAPI, WebSocket
    from fastapi.responses import StreamingResponse

    app = FastAPI()

    @app.get("/sync/{label}")
    def sync(label: str, tasks: BackgroundTasks) -> str:
        tasks.add_task(work, label)
        work(label)
        return label

    @app.get("/stream/{label}")
    async def stream(label: str) -> StreamingResponse:
        return StreamingResponse(steps(label))

    @app.websocket("/socket/{label}")
    async def socket(socket: WebSocket, label: str) -> None:
        await socket.accept()
        async for _ in socket.iter_text():
            work(label)
            await socket.send_text(str(pandaprobe.current_session()))

    FastAPIInstrumentor.instrument_app(app)
    if ours_is_outer:
        return Asgi(app, **SOURCES)
    app.add_middleware(Asgi, **SOURCES)
    return app


def starlette(ours_is_outer: bool) -> Any:
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, StreamingResponse
    from starlette.routing import Route

    def sync(request: Request) -> PlainTextResponse:
        label = request.path_params["label"]
        work(label)
        return PlainTextResponse(label, background=BackgroundTask(work, label))

    async def stream(request: Request) -> StreamingResponse:
        return StreamingResponse(steps(request.path_params["label"]))

    app = Starlette(routes=[Route("/sync/{label}", sync), Route("/stream/{label}", stream)])
    # What is added last is outer.
    if ours_is_outer:
        StarletteInstrumentor.instrument_app(app)
    app.add_middleware(Asgi, **SOURCES)
    if not ours_is_outer:
        StarletteInstrumentor.instrument_app(app)
    return app


def flask(ours_is_outer: bool) -> Any:
    from flask import Flask, Response, stream_with_context

    app = Flask("app")

    @app.get("/sync/<label>")
    def sync(label: str) -> str:
        work(label)
        return label

    @app.get("/stream/<label>")
    def stream(label: str) -> Response:
        return Response(stream_with_context(steps(label)))

    if ours_is_outer:
        FlaskInstrumentor().instrument_app(app)
    app.wsgi_app = Wsgi(app.wsgi_app, **SOURCES)
    if not ours_is_outer:
        FlaskInstrumentor().instrument_app(app)
    return app


@contextmanager
def werkzeug(app: Any) -> Iterator[int]:
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, *_: Any) -> None: ...

    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def set_django_up() -> None:
    import django
    from django.conf import settings
    from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
    from django.urls import path

    def sync(_: HttpRequest, label: str) -> HttpResponse:
        work(label)
        return HttpResponse(label)

    async def sync_async(_: HttpRequest, label: str) -> HttpResponse:
        work(label)
        return HttpResponse(label)

    def stream(_: HttpRequest, label: str) -> StreamingHttpResponse:
        return StreamingHttpResponse(steps(label))

    async def stream_async(_: HttpRequest, label: str) -> StreamingHttpResponse:
        async def body() -> Any:
            for step in steps(label):
                yield step

        return StreamingHttpResponse(body())

    class Urls:
        urlpatterns = (
            path("sync/<label>", sync),
            path("stream/<label>", stream),
            path("async/sync/<label>", sync_async),
            path("async/stream/<label>", stream_async),
        )

    settings.configure(ROOT_URLCONF=Urls, ALLOWED_HOSTS=["*"], SECRET_KEY="-", USE_TZ=True)
    DjangoInstrumentor().instrument()
    django.setup()


def ask(name: str, port: int, folder: str = "") -> None:
    """Requests with a session each, many at once, and one without."""

    def request(number: int) -> None:
        label = f"{name}-{number}"
        for kind in ("sync", "stream"):
            get(port, f"{folder}/{kind}/{label}", X_Session_Id=label, Cookie=f"user=u{number}")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(request, range(6)))
    get(port, f"{folder}/sync/none-{name}")


def ask_by_websocket(name: str, port: int) -> None:
    from websockets.sync.client import connect

    url = f"ws://127.0.0.1:{port}/socket/{name}"
    first, second = connect(url, additional_headers={"X-Session-Id": name}), connect(f"{url}-none")
    with first, second:
        for _ in range(2):
            for socket, session in ((first, name), (second, "None")):
                socket.send("go on")
                assert socket.recv() == session


def main() -> None:
    pandaprobe.init(export="all")
    # What delivers the spans must make none.
    URLLib3Instrumentor().instrument()
    made: dict[str, tuple[Callable[[bool], Any], Callable[[Any], Any]]] = {
        "fastapi": (fastapi, asgi),
        "starlette": (starlette, asgi),
        "flask": (flask, werkzeug),
    }
    for framework, (make, serve) in made.items():
        for order in ("outer", "inner"):
            with serve(make(order == "outer")) as port:
                ask(f"{framework}-{order}", port)
                if framework == "fastapi":
                    ask_by_websocket(f"socket-{order}", port)
    set_django_up()
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application

    with wsgi(Wsgi(get_wsgi_application(), **SOURCES)) as port:
        ask("django-wsgi", port)
    with asgi(Asgi(get_asgi_application(), **SOURCES)) as port:
        ask("django-asgi", port)
        ask("django-async", port, "/async")
    assert pandaprobe.flush()


main()
