# pyright: reportMissingTypeStubs=false
"""What SDKs call stream managers: blocks that make the call as they are entered, and give its stream."""

from collections.abc import AsyncIterator, Callable, Iterator
from timeit import default_timer
from typing import Any, cast

from opentelemetry.util.genai.invocation import InferenceInvocation
from opentelemetry.util.genai.stream import AsyncStreamManagerWrapper
from wrapt import ObjectProxy

from ... import guard
from .._calls import attempt, attempt_async
from .streams import Reader, Reads, become, follow_stream, timed_safely


def follow_manager(result: Any, reads: Reads) -> Any:
    """An official instrumentation's wrapper of a stream manager, made safe."""
    asynchronous = AsyncStreamManagerWrapper in type(result).__mro__
    become(result, AsyncManager if asynchronous else Manager, reads)
    result.__wrapped__ = (_AsyncEntry if asynchronous else _Entry)(result.__wrapped__)
    return result


class _Entry(ObjectProxy):  # pyright: ignore[reportUntypedBaseClass, reportMissingTypeArgument]
    """A stream manager of an SDK, entered by the call that it was given last."""

    _self_enter: Callable[[], Any]

    def __enter__(self) -> Any:
        return self._self_enter()


class _AsyncEntry(ObjectProxy):  # pyright: ignore[reportUntypedBaseClass, reportMissingTypeArgument]
    _self_enter: Callable[[], Any]

    def __aenter__(self) -> Any:
        return self._self_enter()


class Manager:
    """A stream manager's wrapper that is entered whatever becomes of the tracing, and gives a safe stream."""

    _self_reads: Reads

    def __enter__(self) -> Any:
        entry = cast(Any, self).__wrapped__

        def traced(enter: Callable[[], Any]) -> Any:
            entry._self_enter = enter
            return super(Manager, self).__enter__()  # pyright: ignore

        return attempt("opening a stream", entry.__wrapped__.__enter__, traced)

    def _wrap_stream(self, stream: Any, invocation: InferenceInvocation) -> Any:
        wrapper = cast(Any, super())._wrap_stream(stream, invocation)
        timed = _time_inside(stream, _timed, invocation, self._self_reads)
        return follow_stream(wrapper, None if timed else self._self_reads)


class AsyncManager:
    _self_reads: Reads

    async def __aenter__(self) -> Any:
        entry = cast(Any, self).__wrapped__

        async def traced(enter: Callable[[], Any]) -> Any:
            entry._self_enter = enter
            return await super(AsyncManager, self).__aenter__()  # pyright: ignore

        return await attempt_async("opening a stream", entry.__wrapped__.__aenter__, traced)

    def _wrap_stream(self, stream: Any, invocation: InferenceInvocation) -> Any:
        wrapper = cast(Any, super())._wrap_stream(stream, invocation)
        timed = _time_inside(stream, _timed_async, invocation, self._self_reads)
        return follow_stream(wrapper, None if timed else self._self_reads)


def _time_inside(
    stream: Any, timed: Callable[..., Any], invocation: InferenceInvocation, reads: Reads
) -> bool:
    """Takes the time inside anthropic's helper, whose `text_stream` and the like pass every wrapper by."""
    inside = hasattr(stream, "text_stream") and hasattr(stream, "_iterator")
    if inside:
        stream._iterator = timed(stream._iterator, _Clock(invocation, reads(invocation)))
    return inside


class _Clock:
    def __init__(self, invocation: InferenceInvocation, reader: Reader) -> None:
        self._record = timed_safely(invocation)
        self._reader = reader
        self._running = False

    @guard.never_raises
    def see(self, chunk: Any) -> None:
        self._running = self._running or self._reader.read(chunk)
        if self._running:
            self._record(default_timer())


def _timed(chunks: Iterator[Any], clock: _Clock) -> Iterator[Any]:
    for chunk in chunks:
        clock.see(chunk)
        yield chunk


async def _timed_async(chunks: AsyncIterator[Any], clock: _Clock) -> AsyncIterator[Any]:
    async for chunk in chunks:
        clock.see(chunk)
        yield chunk
