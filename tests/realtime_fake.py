"""A WebSocket server on loopback that plays what it is given: for what aimock leaves out of connections."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve


class Peer:
    """A client that is connected, as a script sees it."""

    def __init__(self, connection: ServerConnection, heard: list[Any]) -> None:
        self._connection = connection
        self._heard = heard

    def hears(self, kind: str | None = None) -> Any:
        """The next message, or the next of a type or with such a field."""
        while True:
            message = json.loads(self._connection.recv())
            self._heard.append(message)
            if kind is None or message.get("type") == kind or kind in message:
                return message

    def says(self, *events: Any) -> None:
        """Sends messages."""
        for event in events:
            self._connection.send(json.dumps(event))

    def closes(self, code: int = 1000) -> None:
        """Closes the connection as the protocol has it."""
        self._connection.close(code)

    def drops(self) -> None:
        """Is gone, without a word."""
        self._connection.socket.shutdown(socket.SHUT_RDWR)


class Fake:
    """Such a server.

    Args:
        url: Where it listens, as `ws://…`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.heard: list[Any] = []
        self.headers: list[str] = []
        self.script: Callable[[Peer], object] = lambda peer: None


@contextmanager
def running() -> Iterator[Fake]:
    """Such a server, whose script runs for each connection in a thread of its own."""

    def play(connection: ServerConnection) -> None:
        request = connection.request
        assert request is not None
        fake.headers += [request.path, *(f"{name}: {value}" for name, value in request.headers.items())]
        try:
            fake.script(Peer(connection, fake.heard))
            # Whoever is done closes; what is sent until then is heard.
            Peer(connection, fake.heard).hears("nothing")
        except (ConnectionClosed, OSError):
            pass

    with serve(play, "127.0.0.1", 0) as server:
        fake = Fake(f"ws://127.0.0.1:{server.socket.getsockname()[1]}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()
