"""Responses of `with_raw_response` and `with_streaming_response` of interactions.

Where their body is still to be read, the span ends with it, and not with the call. Nothing is put around
them, since the SDK itself replaces their `parse`.
"""

import inspect
import json
import weakref
from collections.abc import Callable
from typing import Any, cast

from ... import guard
from ...attributes import HTTP_RESPONSE_STATUS_CODE
from .. import _status
from .._genai import keep_open
from .._genai.parts import Error

# The lowest HTTP status that is one.
_ERRORS = 400
# Makes of a stream one that ends the span.
_Streamed = Callable[[Any], Any]
# Writes an answer that came whole.
_Tell = Callable[[Any], None]


def read_unparsed(response: Any, invocation: Any, streamed: _Streamed, tell: _Tell) -> Any:
    """The same response, whose span ends as its body is parsed, read or closed."""
    http = response.http_response
    if http.status_code >= _ERRORS:
        # Version 2.9 raises it as the response is parsed.
        invocation.attributes[HTTP_RESPONSE_STATUS_CODE] = http.status_code
        invocation.fail(Error(message=http.reason_phrase, type=str(http.status_code)))
    elif http.is_stream_consumed:
        tell(json.loads(http.content))
        invocation.stop()
    else:
        invocation.suspend()
        _watch(response, _Body(http, invocation, streamed, tell))
    return response


class _Body:
    """A body that nobody has read yet; it knows nothing of the response, whose end ends it."""

    def __init__(self, http: Any, invocation: Any, streamed: _Streamed, tell: _Tell) -> None:
        self.stream: Any = None
        self._http = http
        self._invocation = invocation
        self._streamed = streamed
        self._tell = tell
        self._closing = ""

    def watch(self, closing: str) -> None:
        """Ends the span where the body is closed, or the process ends."""
        self._closing = closing
        vars(self._http)[closing] = _after(getattr(self._http, closing), self.end)
        keep_open(self)

    @guard.never_raises
    def release(self) -> None:
        """Leaves it to whoever parses the body to end the span."""
        cast("dict[str, Any]", vars(self._http)).pop(self._closing, None)

    @guard.never_raises
    def take(self, parsed: Any) -> Any:
        """What the body is for its reader, where it is parsed to a stream."""
        if self.stream is not None:
            return self.stream if parsed is self.stream.__wrapped__ else parsed
        if hasattr(parsed, "__next__") or hasattr(parsed, "__anext__"):
            self.stream = self._streamed(parsed)
            return self.stream
        self._tell(parsed)
        self.end()
        return parsed

    @guard.never_raises
    def end(self, error: BaseException | None = None) -> None:
        """Ends the span, unless a stream does."""
        self.release()
        if self.stream is None:
            with self._invocation.activate():
                if error is None:
                    self._invocation.stop()
                else:
                    _status.note(self._invocation.span, error)
                    self._invocation.fail(error)

    def _pandaprobe_abandon(self) -> None:
        self.end()


def _watch(response: Any, body: _Body) -> None:
    parse, close = response.parse, response.close
    asynchronous = inspect.iscoroutinefunction(parse)
    body.watch("aclose" if asynchronous else "close")
    if asynchronous:

        async def parse_async(*args: Any, **kwargs: Any) -> Any:
            body.release()
            try:
                parsed = await parse(*args, **kwargs)
            except BaseException as error:
                body.end(error)
                raise
            return body.take(parsed) or parsed

        async def close_async() -> None:
            if body.stream is not None:
                await body.stream.close()
            await close()

        response.parse, response.close = parse_async, close_async
    else:

        def parse_sync(*args: Any, **kwargs: Any) -> Any:
            body.release()
            try:
                parsed = parse(*args, **kwargs)
            except BaseException as error:
                body.end(error)
                raise
            return body.take(parsed) or parsed

        def close_sync() -> None:
            if body.stream is not None:
                body.stream.close()
            close()

        response.parse, response.close = parse_sync, close_sync
    weakref.finalize(response, body.end).atexit = False


def _after(close: Callable[[], Any], do: Callable[[], object]) -> Callable[[], Any]:
    if inspect.iscoroutinefunction(close):

        async def close_async() -> None:
            try:
                await close()
            finally:
                do()

        return close_async

    def close_sync() -> None:
        try:
            close()
        finally:
            do()

    return close_sync
