"""Applications behind real servers on loopback, and a client that says what it is answered."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server


@contextmanager
def asgi(app: Any) -> Iterator[int]:
    """Serves with uvicorn; the port."""
    import uvicorn

    started = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            started.set()

    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(uvicorn.Config(app, log_config=None))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


@contextmanager
def wsgi(app: Any) -> Iterator[int]:
    """Serves with wsgiref, every request in a thread of its own; the port."""

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True

    class Handler(WSGIRequestHandler):
        def log_message(self, *args: Any) -> None: ...

    server = make_server("127.0.0.1", 0, app, Server, Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def get(port: int, path: str = "/", **headers: str) -> str:
    """What `path` answers; `X_Session_Id="s"` is a header X-Session-Id."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        sent = {name.replace("_", "-"): value.encode() for name, value in headers.items()}
        connection.request("GET", path, headers=sent)
        return connection.getresponse().read().decode()
    finally:
        connection.close()
