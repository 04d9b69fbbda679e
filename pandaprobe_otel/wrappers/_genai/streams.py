# pyright: reportMissingTypeStubs=false
"""Streams of answers: traced so that reading survives a fault of the tracing, and that every span ends."""

import sys
import weakref
from collections.abc import Callable
from functools import cache, partial
from types import new_class
from typing import Any, Protocol, cast

from opentelemetry.util.genai.invocation import InferenceInvocation
from opentelemetry.util.genai.stream import (
    AbandonedStreamError,
    AsyncStreamWrapper,
    SyncStreamWrapper,
    finalize_on_aclose,
    finalize_on_close,
)

from ... import guard
from .. import _status
from .endings import failure_since, keep_open


class Reader(Protocol):
    """Puts together what the chunks of one stream say."""

    def read(self, chunk: Any) -> bool:
        """Takes a chunk; whether the answer has begun with it, or before."""
        ...

    def tell(self, invocation: InferenceInvocation) -> None:
        """Writes what was read, also of a stream that was broken off."""
        ...


# Makes the reader of a stream.
Reads = Callable[[InferenceInvocation], Reader]


class Beginning:
    """Reads no more than the first chunk of the answer: text, a tool call, reasoning or a refusal.

    The rest is written by the official instrumentation.
    """

    def __init__(self, begins: Callable[[Any], bool]) -> None:
        self._begins = begins

    def read(self, chunk: Any) -> bool:
        return self._begins(chunk)

    def tell(self, invocation: InferenceInvocation) -> None: ...


def read_with(reader: Reader, stream: Any, invocation: InferenceInvocation, *, asynchronous: bool) -> Any:
    """The same stream, whose span ends as the stream does, with what the reader makes of it."""
    read: Any = (_AsyncRead if asynchronous else _Read)(stream, invocation)
    if not any(hasattr(stream, name) for name in ("close", "aclose")):
        read._self_stream = _Closable(stream)
    return follow_stream(read, lambda _: reader)


def follow_stream(stream: Any, reads: Reads | None) -> Any:
    """A stream wrapper of OpenTelemetry's, made safe.

    Args:
        reads: None where somebody else takes the time of the first chunk.
    """
    become(stream, Hooks, reads)
    _set_off(stream)
    return stream


@guard.never_raises
def _set_off(stream: Any) -> None:
    invocation = stream._self_invocation
    # What the caller does between two chunks is no part of the call.
    invocation.suspend()
    stream._self_around = sys.exc_info()[1]
    # Until the answer begins: upstream takes the time of the first chunk, which may hold no more than a role.
    vars(invocation)[_CLOCK] = _untimed
    keep_open(stream)
    if stream._self_reads is not None:
        stream._self_reader = stream._self_reads(invocation)


# What upstream calls at every chunk.
_CLOCK = "_on_stream_chunk"


def _untimed(_: float) -> None:
    """Stands for the clock of an invocation whose answer has not begun."""


def timed_safely(invocation: Any) -> Callable[[float], None]:
    """Takes the time of a chunk, whatever becomes of it."""
    record = getattr(cast(Any, type(invocation)), _CLOCK)

    def clock(chunk_at: float) -> None:
        try:
            record(invocation, chunk_at)
        except Exception as error:
            guard.caught("timing a stream", error)

    return clock


def become(proxy: Any, mixin: type[Any], reads: Reads | None) -> None:
    """Puts a class of ours in front of a proxy's."""
    kind = cast("type[Any]", type(proxy))
    # A proxy passes `__class__ = …` on to what it wraps.
    object.__dict__["__class__"].__set__(proxy, _mixed(mixin, kind))
    proxy._self_reads = reads


@cache
def _mixed(mixin: type[Any], base: type[Any]) -> type[Any]:
    return new_class(base.__name__, (mixin, base))


class Hooks:
    """A stream wrapper's hooks, which run inside the user's loop: none raises, and the span always ends."""

    _self_invocation: InferenceInvocation
    _self_reads: Reads | None
    _self_reader: Reader | None = None
    _self_around: BaseException | None = None

    def _process_chunk(self, chunk: Any) -> None:
        # In place, and not by `guard.never_raises`: it runs at every chunk.
        try:
            if self._self_reader is not None and self._self_reader.read(chunk):
                self._begin()
            super()._process_chunk(chunk)  # pyright: ignore
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
            vars(invocation)[_CLOCK] = timed_safely(invocation)
        if isinstance(self._self_reader, Beginning):
            self._self_reader = None

    @guard.never_raises
    def _on_stream_end(self) -> None:
        error = failure_since(self._self_around)
        if error is None:
            self._end()
        else:
            # Closed on the way out of what failed.
            self._on_stream_error(error)

    def _end(self) -> None:
        try:
            self._tell()
        finally:
            self._self_invocation.stop()

    @guard.never_raises
    def _on_stream_error(self, error: BaseException) -> None:
        if isinstance(error, (AbandonedStreamError, GeneratorExit)):
            # The consumer had enough; nothing failed.
            self._end()
            return
        _status.note(self._self_invocation.span, error)
        held = vars(self._self_invocation)
        # Official wrappers write what was read at a good end only, where they also stop the span.
        held["stop"] = lambda: None
        try:
            self._tell()
        finally:
            del held["stop"]
            self._self_invocation.fail(error)

    def _tell(self) -> None:
        # It refers to the invocation that holds it.
        vars(self._self_invocation).pop(_CLOCK, None)
        if self._self_reader is not None and self._self_invocation.span.is_recording():
            self._self_reader.tell(self._self_invocation)
        super()._on_stream_end()  # pyright: ignore

    def _pandaprobe_abandon(self) -> None:
        cast(Any, self)._finalize_failure(AbandonedStreamError())


@guard.never_raises
def _finish(stream: "weakref.ref[Any]") -> None:
    if (open_still := stream()) is not None:
        with open_still._execution_context():
            open_still._finalize_success()


class _Reading:
    """A stream of an SDK that has no official instrumentation: what is read is the reader's alone."""

    def _process_chunk(self, chunk: Any) -> None: ...

    def _on_stream_end(self) -> None: ...

    def _on_stream_error(self, error: BaseException) -> None: ...


class _Read(_Reading, SyncStreamWrapper[Any]): ...


class _AsyncRead(_Reading, AsyncStreamWrapper[Any]): ...


class _Closable:
    """What ends a stream that has no method for it: leaving its block, as in mistralai 1."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def close(self) -> Any:
        leave = getattr(self._stream, "__aexit__", None) or getattr(self._stream, "__exit__", None)
        return leave and leave(None, None, None)
