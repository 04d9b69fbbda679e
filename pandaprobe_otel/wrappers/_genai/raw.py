# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
"""Raw responses, whose body the caller reads: their spans end with the body, not with the call."""

import inspect
import sys
from collections.abc import Awaitable, Callable
from functools import cache
from importlib import import_module
from typing import Any, cast

from opentelemetry.trace import get_current_span
from opentelemetry.util.genai.invocation import InferenceInvocation
from opentelemetry.util.genai.stream import AsyncStreamWrapper, SyncStreamWrapper

from ... import guard
from .. import _status
from .endings import failure_since, keep_open
from .streams import Beginning, Hooks, Reads, become, follow_stream


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

    around = sys.exc_info()[1]
    # What the caller does until he reads it is no part of the call.
    invocation.suspend()

    was_told = False

    def tell_once(answer: Any) -> None:
        nonlocal was_told
        was_told = True
        tell(answer)

    def end() -> None:
        error = failure_since(around)
        with invocation.activate():
            if error is None:
                if not was_told and (body := _body(response.http_response)) is not None:
                    tell(body)
                invocation.stop()
            else:
                _status.note(invocation.span, error)
                invocation.fail(error)

    proxy = _proxy()(response, safely, end)
    proxy._self_tell = tell_once
    return follow_raw(proxy, lambda _: Beginning(lambda _: True))


def _body(response: Any) -> Any:
    """What the caller has read without parsing it; None where that is no JSON, or is not kept."""
    try:
        return response.json()
    except Exception:
        return None


def follow_raw(proxy: Any, reads: Reads) -> Any:
    """A wrapper of a raw response, made safe: the stream is made when the caller parses the response."""
    become(proxy, Raw, reads)
    proxy._self_around = sys.exc_info()[1]
    keep_open(proxy)
    if (invocation := getattr(proxy, "_self_invocation", None)) is not None:
        invocation.suspend()
    return proxy


@cache
def _proxy() -> Any:
    # Not before: it imports openai.
    official = import_module("opentelemetry.instrumentation.genai.openai._raw_response")

    class Proxy(official.RawResponseStreamProxy):
        _self_tell: Callable[[Any], None]
        _self_end: Callable[[], None] | None = None
        _self_read = False

        def _install_close_fallback(self, raw_response: Any) -> None:
            super()._install_close_fallback(raw_response)
            response = raw_response.http_response
            response.read, response.aread = self._reading(response.read), self._areading(response.aread)

        def _reading(self, read: Callable[..., Any]) -> Callable[..., Any]:
            # It closes the response before it has put the body together.
            def reading(*args: Any, **kwargs: Any) -> Any:
                self._self_read = True
                try:
                    return read(*args, **kwargs)
                finally:
                    self._self_read = False
                    self._finalize_once()

            return reading

        def _areading(self, read: Callable[..., Any]) -> Callable[..., Any]:
            async def reading(*args: Any, **kwargs: Any) -> Any:
                self._self_read = True
                try:
                    return await read(*args, **kwargs)
                finally:
                    self._self_read = False
                    self._finalize_once()

            return reading

        def _finalize_close_fallback(self) -> None:
            if not self._self_read:
                super()._finalize_close_fallback()

        async def _afinalize_close_fallback(self) -> None:
            if not self._self_read:
                await super()._afinalize_close_fallback()

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


class Raw:
    """A raw response, which gives a safe stream when parsed, and ends its span when nobody parses it."""

    _self_reads: Reads
    _self_around: BaseException | None = None
    _self_was_parsed = False
    _self_stream: Any = None

    def parse(self, *args: Any, **kwargs: Any) -> Any:
        self._self_was_parsed = True
        parsed = cast(Any, super()).parse(*args, **kwargs)
        if inspect.isawaitable(parsed):
            return self._later(parsed)
        followed = self._followed(parsed)
        return parsed if followed is None else followed

    async def _later(self, pending: Awaitable[Any]) -> Any:
        parsed = await pending
        followed = self._followed(parsed)
        return parsed if followed is None else followed

    @guard.never_raises
    def _followed(self, parsed: Any) -> Any:
        me = cast(Any, self)
        if self._self_stream is not None and parsed is self._self_stream.__wrapped__:
            return self._self_stream
        bases = set(type(parsed).__mro__)
        if Hooks in bases or bases.isdisjoint({SyncStreamWrapper, AsyncStreamWrapper}):
            return parsed
        stream = follow_stream(parsed, self._self_reads)
        if getattr(me, "_self_stream_wrapper", None) is stream is not None:
            # Anthropic's proxy, at its end, knows streams only by their very type.
            me._self_stream_wrapper, self._self_stream = None, stream
        return stream

    def _finalize_close_fallback(self) -> None:
        if not self._is_being_read():
            cast(Any, super())._finalize_close_fallback()
            self._end_stream()

    async def _afinalize_close_fallback(self) -> None:
        if not self._is_being_read():
            await cast(Any, super())._afinalize_close_fallback()
            self._end_stream()

    @guard.never_raises
    def _is_being_read(self) -> bool:
        """Whether it is closed by a read of its stream, which knows whether it failed."""
        stream = self._self_stream or getattr(self, "_self_parsed", None)
        invocation = getattr(stream, "_self_invocation", None)
        return invocation is not None and invocation.span is get_current_span()

    @guard.never_raises
    def _end_stream(self) -> None:
        if self._self_stream is not None:
            self._self_stream._finalize_success()

    @guard.never_raises
    def _pandaprobe_abandon(self) -> None:
        if not self._self_was_parsed:
            cast(Any, self)._finalize_once()

    def __del__(self) -> None:
        self._pandaprobe_abandon()

    def _finalize_once(self) -> None:
        error = failure_since(self._self_around)
        fail = getattr(super(), "_fail", None)
        if error is not None and fail is not None:
            # Anthropic's proxy stops its span as its body is closed, whatever closed it.
            fail(error)
        cast(Any, super())._finalize_once()
