# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
"""Raw responses of openai whose body the caller reads: their spans end with the body, not with the call."""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from opentelemetry.util.genai.invocation import InferenceInvocation

from ... import guard
from .streams import follow


def is_unread(result: Any) -> bool:
    """Whether this is a raw response that the caller has still to read."""
    response = getattr(result, "http_response", None)
    return hasattr(result, "parse") and getattr(response, "is_stream_consumed", True) is False


def read_raw_with(
    response: Any, invocation: InferenceInvocation, traced: Callable[[Any], Any], tell: Callable[[Any], None]
) -> Any:
    """The same response, whose span ends as its body is read or closed.

    Args:
        traced: Makes of the stream that it is parsed to one that ends the span.
        tell: Writes what it is parsed to where that is no stream.
    """

    def safely(stream: Any) -> Any:
        try:
            return traced(stream)
        except Exception as error:
            guard.caught("reading a raw response", error)
            end()
            return stream

    def end() -> None:
        with invocation.activate():
            invocation.stop()

    proxy = _proxy()(response, safely, end)
    proxy._self_tell = tell
    return follow(proxy, lambda _: True)


@cache
def _proxy() -> Any:
    # Not before: it imports openai.
    official = import_module("opentelemetry.instrumentation.genai.openai._raw_response")

    class Proxy(official.RawResponseStreamProxy):
        _self_tell: Callable[[Any], None]
        _self_end: Callable[[], None] | None = None

        def parse(self, *args: Any, **kwargs: Any) -> Any:
            # Parsing an answer closes it, before it can be told.
            self._self_end, self._self_finalize = self._self_finalize, None
            try:
                return super().parse(*args, **kwargs)
            except BaseException:
                self._resume()
                raise

        async def _parse_awaited(self, pending: Any) -> Any:
            try:
                return await super()._parse_awaited(pending)
            except BaseException:
                self._resume()
                raise

        def _wrap_parsed(self, stream: Any) -> Any:
            if not hasattr(stream, "__next__") and not hasattr(stream, "__anext__"):
                self._self_tell(stream)
                self._resume()
                return stream
            self._self_finalize, self._self_end = self._self_end, None
            return super()._wrap_parsed(stream)

        def _resume(self) -> None:
            self._self_finalize, self._self_end = self._self_end, None
            if self.__wrapped__.http_response.is_closed:
                self._finalize_once()

    return Proxy
