# pyright: reportMissingTypeStubs=false
"""Streams of answers: traced so that reading survives a fault of the tracing, and that every span ends."""

import atexit
import inspect
import os
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import cache, partial
from timeit import default_timer
from types import new_class
from typing import Any, Protocol, cast

from opentelemetry.util.genai.invocation import InferenceInvocation
from opentelemetry.util.genai.stream import (
    AbandonedStreamError,
    AsyncStreamManagerWrapper,
    AsyncStreamWrapper,
    SyncStreamManagerWrapper,
    SyncStreamWrapper,
    finalize_on_aclose,
    finalize_on_close,
)
from wrapt import ObjectProxy

from ... import guard
from ...attributes import HTTP_RESPONSE_STATUS_CODE
from .._calls import attempt, attempt_async

# Whether a chunk brings the first of the answer: text, a tool call, reasoning or a refusal.
Begins = Callable[[Any], bool]


class Reader(Protocol):
    """Puts together what the chunks of one stream say."""

    def read(self, chunk: Any) -> bool:
        """Takes a chunk; whether the answer has begun with it, or before."""
        ...

    def tell(self, invocation: InferenceInvocation) -> None:
        """Writes what was read, also of a stream that was broken off."""
        ...


def read_with(reader: Reader, stream: Any, invocation: InferenceInvocation, *, asynchronous: bool) -> Any:
    """The same stream, whose span ends as the stream does, with what the reader makes of it."""
    read: Any = (_AsyncRead if asynchronous else _Read)(stream, invocation)
    read._self_reader = reader
    if not any(hasattr(stream, name) for name in ("close", "aclose")):
        read._self_stream = _Closable(stream)
    return _follow_stream(read, None)


@guard.never_raises
def put_status(invocation: Any, error: BaseException) -> None:
    """Writes the HTTP status of an error on its span, where the SDK tells it."""
    # `code` is what google-genai calls it.
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    if isinstance(status, int):
        invocation.attributes[HTTP_RESPONSE_STATUS_CODE] = status


def follow(result: Any, begins: Begins) -> Any:
    """What an official instrumentation returned, made safe if it is a stream or gives one later."""
    kind = cast("type[Any]", type(result))
    if kind is dict:
        # An answer of boto has its stream under a name.
        for name, value in result.items():
            result[name] = follow(value, begins)
        return result
    # Not isinstance: it asks a proxy for the class of what it wraps.
    bases = set(kind.__mro__)
    if ObjectProxy not in bases or not bases.isdisjoint({_Hooks, _Manager, _AsyncManager, _Raw}):
        return result
    if not bases.isdisjoint({SyncStreamWrapper, AsyncStreamWrapper}):
        return _follow_stream(result, begins)
    if SyncStreamManagerWrapper in bases:
        _become(result, _Manager, begins)
        result.__wrapped__ = _Entry(result.__wrapped__)
    elif AsyncStreamManagerWrapper in bases:
        _become(result, _AsyncManager, begins)
        result.__wrapped__ = _AsyncEntry(result.__wrapped__)
    elif hasattr(kind, "read"):
        # The body of aiobotocore, which ends its span when it is read.
        result._self_invocation.suspend()
    elif hasattr(kind, "parse"):
        # `with_raw_response`: the stream is made when the caller parses the response.
        _become(result, _Raw, begins)
        _keep_open(result)
        if (invocation := getattr(result, "_self_invocation", None)) is not None:
            invocation.suspend()
    return result


def _follow_stream(stream: Any, begins: Begins | None) -> Any:
    _become(stream, _Hooks, begins)
    _set_off(stream)
    return stream


@guard.never_raises
def _set_off(stream: Any) -> None:
    invocation = stream._self_invocation
    # Until the answer begins: upstream takes the time of the first chunk, which may hold no more than a role.
    vars(invocation)[_CLOCK] = _untimed
    _keep_open(stream)
    # What the caller does between two chunks is no part of the call.
    invocation.suspend()


# What upstream calls at every chunk.
_CLOCK = "_on_stream_chunk"


def _untimed(_: float) -> None:
    """Stands for the clock of an invocation whose answer has not begun."""


def _timed_safely(invocation: Any) -> Callable[[float], None]:
    record = getattr(cast(Any, type(invocation)), _CLOCK)

    def clock(chunk_at: float) -> None:
        try:
            record(invocation, chunk_at)
        except Exception as error:
            guard.caught("timing a stream", error)

    return clock


def _become(proxy: Any, mixin: type[Any], begins: Begins | None) -> None:
    kind = cast("type[Any]", type(proxy))
    # A proxy passes `__class__ = …` on to what it wraps.
    object.__dict__["__class__"].__set__(proxy, _mixed(mixin, kind))
    proxy._self_begins = begins


@cache
def _mixed(mixin: type[Any], base: type[Any]) -> type[Any]:
    return new_class(base.__name__, (mixin, base))


class _Hooks:
    """A stream wrapper's hooks, which run inside the user's loop: none raises, and the span always ends."""

    _self_invocation: InferenceInvocation
    _self_begins: Begins | None

    def _process_chunk(self, chunk: Any) -> None:
        # In place, and not by `guard.never_raises`: it runs at every chunk.
        try:
            super()._process_chunk(chunk)  # pyright: ignore
            if self._self_begins is not None and self._self_begins(chunk):
                self._self_begins = None
                self._begin()
        except Exception as error:
            guard.caught("reading a stream", error)

    def __getattr__(self, name: str) -> Any:
        found = cast(Any, super()).__getattr__(name)
        if name != "response":
            return found
        # The helper of openai's chat completions closes that, and not the stream.
        closing = finalize_on_aclose if AsyncStreamWrapper in type(self).__mro__ else finalize_on_close
        return closing(found, partial(_finish, weakref.ref(self)))

    def _begin(self) -> None:
        invocation = self._self_invocation
        if vars(invocation).get(_CLOCK) is _untimed:
            vars(invocation)[_CLOCK] = _timed_safely(invocation)

    @guard.never_raises
    def _on_stream_end(self) -> None:
        # It refers to the invocation that holds it.
        vars(self._self_invocation).pop(_CLOCK, None)
        try:
            super()._on_stream_end()  # pyright: ignore
        finally:
            self._self_invocation.stop()

    @guard.never_raises
    def _on_stream_error(self, error: BaseException) -> None:
        if isinstance(error, (AbandonedStreamError, GeneratorExit)):
            # The consumer had enough; nothing failed.
            self._on_stream_end()
            return
        vars(self._self_invocation).pop(_CLOCK, None)
        try:
            if self._self_invocation.provider == "aws.bedrock":
                self._tell_before_error()
            super()._on_stream_error(error)  # pyright: ignore
        finally:
            self._self_invocation.fail(error)

    @guard.never_raises
    def _tell_before_error(self) -> None:
        # The official wrapper writes what was read at a good end only, where it also stops the span.
        held = vars(self._self_invocation)
        held["stop"] = lambda: None
        try:
            super()._on_stream_end()  # pyright: ignore
        finally:
            del held["stop"]

    def _pandaprobe_abandon(self) -> None:
        cast(Any, self)._finalize_failure(AbandonedStreamError())


def _finish(stream: "weakref.ref[Any]") -> None:
    if (open_still := stream()) is not None:
        with open_still._execution_context():
            open_still._finalize_success()


class _Reading:
    _self_invocation: InferenceInvocation
    _self_reader: Reader

    def _process_chunk(self, chunk: Any) -> None:
        if self._self_reader.read(chunk):
            cast(Any, self)._begin()

    def _on_stream_end(self) -> None:
        self._self_reader.tell(self._self_invocation)

    def _on_stream_error(self, error: BaseException) -> None:
        put_status(self._self_invocation, error)
        self._self_reader.tell(self._self_invocation)


class _Read(_Reading, SyncStreamWrapper[Any]): ...


class _AsyncRead(_Reading, AsyncStreamWrapper[Any]): ...


class _Closable:
    """What ends a stream that has no method for it: leaving its block, as in mistralai 1."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def close(self) -> Any:
        leave = getattr(self._stream, "__aexit__", None) or getattr(self._stream, "__exit__", None)
        return leave and leave(None, None, None)


class _Entry(ObjectProxy):  # pyright: ignore[reportUntypedBaseClass, reportMissingTypeArgument]
    """A stream manager of an SDK, entered by the call that it was given last."""

    _self_enter: Callable[[], Any]

    def __enter__(self) -> Any:
        return self._self_enter()


class _AsyncEntry(ObjectProxy):  # pyright: ignore[reportUntypedBaseClass, reportMissingTypeArgument]
    _self_enter: Callable[[], Any]

    def __aenter__(self) -> Any:
        return self._self_enter()


class _Manager:
    """A stream manager's wrapper that is entered whatever becomes of the tracing, and gives a safe stream."""

    _self_begins: Begins

    def __enter__(self) -> Any:
        entry = cast(Any, self).__wrapped__

        def traced(enter: Callable[[], Any]) -> Any:
            entry._self_enter = enter
            return super(_Manager, self).__enter__()  # pyright: ignore

        return attempt("opening a stream", entry.__wrapped__.__enter__, traced)

    def _wrap_stream(self, stream: Any, invocation: InferenceInvocation) -> Any:
        wrapper = cast(Any, super())._wrap_stream(stream, invocation)
        timed = _time_inside(stream, _timed, invocation, self._self_begins)
        return _follow_stream(wrapper, None if timed else self._self_begins)


class _AsyncManager:
    _self_begins: Begins

    async def __aenter__(self) -> Any:
        entry = cast(Any, self).__wrapped__

        async def traced(enter: Callable[[], Any]) -> Any:
            entry._self_enter = enter
            return await super(_AsyncManager, self).__aenter__()  # pyright: ignore

        return await attempt_async("opening a stream", entry.__wrapped__.__aenter__, traced)

    def _wrap_stream(self, stream: Any, invocation: InferenceInvocation) -> Any:
        wrapper = cast(Any, super())._wrap_stream(stream, invocation)
        timed = _time_inside(stream, _timed_async, invocation, self._self_begins)
        return _follow_stream(wrapper, None if timed else self._self_begins)


def _time_inside(
    stream: Any, timed: Callable[..., Any], invocation: InferenceInvocation, begins: Begins
) -> bool:
    """Takes the time inside anthropic's helper, whose `text_stream` and the like pass every wrapper by."""
    inside = hasattr(stream, "text_stream") and hasattr(stream, "_iterator")
    if inside:
        stream._iterator = timed(stream._iterator, _Clock(invocation, begins))
    return inside


class _Clock:
    def __init__(self, invocation: InferenceInvocation, begins: Begins) -> None:
        self._record = _timed_safely(invocation)
        self._begins = begins
        self._running = False

    @guard.never_raises
    def see(self, chunk: Any) -> None:
        self._running = self._running or self._begins(chunk)
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


class _Raw:
    """A raw response, which gives a safe stream when parsed, and ends its span when nobody parses it."""

    _self_begins: Begins
    _self_was_parsed = False
    _self_stream: Any = None

    def parse(self, *args: Any, **kwargs: Any) -> Any:
        self._self_was_parsed = True
        parsed = cast(Any, super()).parse(*args, **kwargs)
        return self._later(parsed) if inspect.isawaitable(parsed) else self._followed(parsed)

    async def _later(self, parsed: Awaitable[Any]) -> Any:
        return self._followed(await parsed)

    def _followed(self, parsed: Any) -> Any:
        me = cast(Any, self)
        if self._self_stream is not None and parsed is self._self_stream.__wrapped__:
            return self._self_stream
        stream = follow(parsed, self._self_begins)
        if getattr(me, "_self_stream_wrapper", None) is stream is not None:
            # Anthropic's proxy, at its end, knows streams only by their very type.
            me._self_stream_wrapper, self._self_stream = None, stream
        return stream

    def _finalize_close_fallback(self) -> None:
        cast(Any, super())._finalize_close_fallback()
        self._end_stream()

    async def _afinalize_close_fallback(self) -> None:
        await cast(Any, super())._afinalize_close_fallback()
        self._end_stream()

    def _end_stream(self) -> None:
        if self._self_stream is not None:
            self._self_stream._finalize_success()

    @guard.never_raises
    def _pandaprobe_abandon(self) -> None:
        if not self._self_was_parsed:
            cast(Any, self)._finalize_once()

    def __del__(self) -> None:
        self._pandaprobe_abandon()


# By id, since a proxy hashes as what it wraps.
_open: "weakref.WeakValueDictionary[int, Any]" = weakref.WeakValueDictionary()


def _keep_open(proxy: Any) -> None:
    if not _open:
        # Anew, so that it runs before the exit handlers of a provider that was made since.
        atexit.unregister(_end_open)
        atexit.register(_end_open, os.getpid())
    _open[id(proxy)] = proxy


def _end_open(pid: int) -> None:
    """Ends the spans of the streams that this process, not the one it forked from, leaves open."""
    for proxy in list(_open.values()) if pid == os.getpid() else ():
        proxy._pandaprobe_abandon()
