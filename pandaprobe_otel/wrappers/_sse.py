"""Server-sent events that an SDK hands on as the bytes in which they came."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any


class Events:
    """Puts them together, wherever the pieces begin and end."""

    def __init__(self) -> None:
        self._rest = b""

    def of(self, piece: Any) -> Iterator[Any]:
        """The events that end with a piece, as the JSON that they carry; what is no text is one itself."""
        if not isinstance(piece, (bytes, str)):
            yield piece
            return
        *lines, self._rest = (self._rest + (piece.encode() if isinstance(piece, str) else piece)).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                # OpenAI's `[DONE]` is none.
                with suppress(ValueError):
                    yield json.loads(line.removeprefix(b"data:"))
