"""Runs the local PandaProbe: in a thread, or as a program of its own."""

import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import TracebackType

try:
    import uvicorn

    from .app import create_app
    from .hosts import is_loopback
except ImportError as error:
    raise ImportError(
        "the local PandaProbe needs starlette and uvicorn: pip install 'pandaprobe-otel[local]'"
    ) from error

from .store import Store

DEFAULT_HOST = "127.0.0.1"
# OTLP/HTTP's own.
DEFAULT_PORT = 4318

_logger = logging.getLogger("pandaprobe_otel.local")
_START_SECONDS = 10
# How long requests under way may take when the server stops.
_STOP_SECONDS = 5
_POLL_SECONDS = 0.01
_SIGNAL_SECONDS = 0.5


class LocalServer:
    """The local PandaProbe in a thread, for as long as the `with` block lasts.

    Args:
        directory: Where traces are kept.
        host: Where to listen; only this machine's loopback, unless `allow_remote`.
        port: 0 takes a free one; `url` has it then.
        allow_remote: Lets other machines in. There is no authentication.

    Raises:
        ValueError: The host is no loopback address.
        OSError: The port is taken, or the directory cannot be used.
    """

    def __init__(
        self,
        directory: Path,
        host: str = DEFAULT_HOST,
        port: int = DEFAULT_PORT,
        *,
        allow_remote: bool = False,
    ) -> None:
        _check_host(host, allow_remote)
        self._directory = directory
        self._address = (host, port)
        self._allow_remote = allow_remote
        self._running: ExitStack | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """The base URL: what `OTEL_EXPORTER_OTLP_ENDPOINT` takes. Empty until the server runs."""
        return self._url

    def __enter__(self) -> "LocalServer":
        with ExitStack() as stack:
            store = stack.enter_context(closing(Store(self._directory)))
            listener = stack.enter_context(_listen(*self._address))
            server = _server(store, self._allow_remote)
            thread = threading.Thread(
                target=server.run, args=([listener],), name="pandaprobe-local", daemon=True
            )
            thread.start()
            stack.callback(_stop, server, thread)
            _wait_until_started(server, thread)
            self._url = _url(listener)
            self._running = stack.pop_all()
        _logger.info("listening on %s", self._url)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        running, self._running, self._url = self._running, None, ""
        if running is not None:
            running.close()


def serve(
    directory: Path,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    *,
    allow_remote: bool = False,
    on_start: Callable[[str], None] | None = None,
) -> None:
    """Runs the local PandaProbe until SIGINT or SIGTERM; for the main thread.

    Args:
        directory: Where traces are kept.
        host: Where to listen; only this machine's loopback, unless `allow_remote`.
        port: 0 takes a free one.
        allow_remote: Lets other machines in. There is no authentication.
        on_start: Is called with the base URL, once requests to it are taken.

    Raises:
        ValueError: The host is no loopback address.
        OSError: The port is taken, or the directory cannot be used.
    """
    with LocalServer(directory, host, port, allow_remote=allow_remote) as server, _signals() as stop:
        if on_start is not None:
            on_start(server.url)
        # Windows interrupts no wait without a timeout.
        while not stop.wait(_SIGNAL_SECONDS):
            pass


@contextmanager
def _signals() -> Generator[threading.Event, None, None]:
    stop = threading.Event()

    def on_signal(_number: int, _frame: object) -> None:
        stop.set()

    earlier = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _check_host(host: str, allow_remote: bool) -> None:
    if not allow_remote and not is_loopback(host):
        raise ValueError(
            f"{host} is reachable from other machines, and the local PandaProbe has no authentication; "
            "listen on 127.0.0.1, or say allow_remote=True"
        )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=128)


def _url(listener: socket.socket) -> str:
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _server(store: Store, allow_remote: bool) -> uvicorn.Server:
    config = uvicorn.Config(
        create_app(store, loopback_only=not allow_remote),
        # Logging is the program's that this runs in.
        log_config=None,
        access_log=False,
        lifespan="off",
        loop="asyncio",
        http="h11",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    return uvicorn.Server(config)


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("the local PandaProbe did not start; see the log")
        time.sleep(_POLL_SECONDS)


def _stop(server: uvicorn.Server, thread: threading.Thread) -> None:
    server.should_exit = True
    thread.join()
