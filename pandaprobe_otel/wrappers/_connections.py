"""Connections over which a model is asked and answers many times: each answer becomes a span.

What is watched are the methods of one connection, which stays what it is. Nothing is known of a protocol
here: a `Watch` says what the messages of one mean.
"""

import json
import weakref
from abc import abstractmethod
from collections.abc import Callable
from functools import cache
from inspect import iscoroutinefunction
from threading import RLock
from types import new_class
from typing import Any, NamedTuple, cast

from opentelemetry.context import Context, attach
from opentelemetry.trace import get_current_span

from .. import guard
from ..session.identity import UNKNOWN, current, open_frame, put_back
from . import _calls, _genai
from ._genai.parts import InferenceInvocation
from ._turns import Turn

# Who is connected to: the provider, its address and port.
Server = tuple[str, str | None, int | None]


class Watch:
    """What is made of the messages of one connection.

    Args:
        recorder: Makes the spans.
        server: Who is connected to.
        operation: The name of the operation that its answers are.
        model: The model that is asked, where that is known.
    """

    def __init__(
        self, recorder: _genai.Recorder, server: Server, operation: str, model: str | None = None
    ) -> None:
        self.model = model
        self.lock = RLock()
        self.was_left = False
        self._recorder = recorder
        self._server = server
        self._operation = operation
        self._around = here()

    @abstractmethod
    def hooks(self) -> "dict[str, Hook]":
        """What is done around which methods of the connection."""

    @abstractmethod
    def turns(self) -> list[Turn]:
        """Those that are open, which are forgotten with this."""

    def sent(self, message: Any) -> Turn | None:
        """Takes a message to the server, before it is sent; the turn that it asks for."""

    def start(self, context: Context | None = None) -> InferenceInvocation | None:
        """Starts a span.

        Args:
            context: What was current when it was asked for; left out, the present one where that names
                anyone, else that of connecting.
        """
        if not _calls.is_on():
            return None
        token = attach(context or (self._around if _is_nobody() else here()))
        try:
            if _genai.is_covered():
                return None
            provider, address, port = self._server
            invocation = self._recorder.handler().inference(
                provider,
                request_model=self.model,
                operation_name=self._operation,
                server_address=address,
                server_port=port,
            )
            # What the caller does meanwhile is no part of the answer.
            invocation.suspend()
            return invocation
        finally:
            put_back(token)

    @abstractmethod
    def forget(self, turn: Turn) -> None:
        """Takes note that a turn that was asked for will not come."""

    def unsent(self, turn: Turn | None, error: BaseException) -> None:
        """Takes note that a message could not be sent."""
        with self.lock:
            if turn is not None:
                self.forget(turn)
                turn.end(error)
            Watch.lost(self, None, error)

    def lost(self, _: Any, error: BaseException) -> None:
        """Takes note that nothing could be received."""
        with self.lock:
            if _is_closed(error):
                self.closed(error)

    def closed(self, error: BaseException | None = None) -> None:
        """Ends what is open: with an error, unless the caller had enough."""
        with self.lock:
            for turn in self.turns():
                # What was refused was never begun.
                known = turn.error if error is not None or not turn.begun else None
                guard.never_raises(turn.end)(known or error)

    def closing(self, *_: Any, **__: Any) -> None:
        """Takes note that the caller closes the connection."""
        self.was_left = True
        self.closed()

    def left(self, error: BaseException | None) -> None:
        """Takes note that the block of the connection ends."""
        with self.lock:
            # A reader that is cancelled has hung up.
            self.closed(error if isinstance(error, Exception) else None)
            self.was_left = True


class EventsWatch(Watch):
    """A watch of one of OpenAI's connections, whose messages are events as JSON."""

    _is_reading = False

    def hooks(self) -> "dict[str, Hook]":
        return {
            "send": Hook(self.sent, failed=self.unsent),
            "send_raw": Hook(self.sent_raw, failed=self.unsent),
            "recv": Hook(self.reads, self.received, self.lost),
            "recv_bytes": Hook(after=self.received_raw, failed=self.lost),
            "close": Hook(self.closing),
        }

    @abstractmethod
    def take(self, event: Any) -> None:
        """Takes an event from the server."""

    def sent_raw(self, data: Any) -> Turn | None:
        """Takes an event to the server that is written already."""
        return self.sent(json.loads(data))

    def reads(self) -> None:
        """Takes note that an event is going to be read, and then parsed."""
        self._is_reading = True

    def received(self, event: Any) -> None:
        """Takes an event that was read and parsed."""
        self._is_reading = False
        with self.lock:
            self.take(event)

    def received_raw(self, data: Any) -> None:
        """Takes an event that the caller parses."""
        if not self._is_reading:
            self.received(json.loads(data))

    def lost(self, _: Any, error: BaseException) -> None:
        self._is_reading = False
        super().lost(_, error)


class Hook(NamedTuple):
    """What is done around a method: none of it raises into the call.

    Args:
        before: Is given what the method is given.
        after: Is given what the method returned.
        failed: Is given what `before` returned, and the error.
    """

    before: Callable[..., Any] | None = None
    after: Callable[[Any], object] | None = None
    failed: Callable[[Any, BaseException], object] | None = None


def here() -> Context:
    """The present context, in the session of now also when its block has ended by then."""
    session, user = current()
    return open_frame(session=session, user=user).context()


def _is_nobody() -> bool:
    return current() == (UNKNOWN, UNKNOWN) and not get_current_span().get_span_context().is_valid


def connecting(
    watching: Callable[[Any, _calls.Args, _calls.Kwargs], Callable[[], Watch]], where: str
) -> _calls.Traced:
    """The tracing function of a method that returns a context manager over a connection.

    Args:
        watching: Makes, of the object that the method belongs to and what it is given, what makes the watch
            of a connection as it is entered.
        where: What is traced, for the report of a fault.
    """

    def call(wrapped: Callable[..., Any], instance: Any, args: _calls.Args, kwargs: _calls.Kwargs) -> Any:
        manager = wrapped(*args, **kwargs)
        watch = watching(instance, args, kwargs)
        kind = cast("type[Any]", type(manager))
        if not issubclass(kind, _Manager):
            manager.__class__ = _watched(kind)
        # Where two trace it, the outer one's labels hold.
        manager._pandaprobe_watching = watch
        return manager

    return _calls.unobtrusive(call, where)


class _Manager:
    _pandaprobe_watching: Callable[[], Watch]
    _pandaprobe_watch: Watch | None = None
    _pandaprobe_queued: tuple[Any, ...] = ()

    @guard.never_raises
    def _pandaprobe_entered(self, connection: Any) -> None:
        self._pandaprobe_watch = watch = self._pandaprobe_watching()
        for name, hook in watch.hooks().items():
            # Old versions lack some.
            if hasattr(connection, name):
                _calls.wrap_method(connection, name, _around(hook, getattr(connection, name)))
        # A connection that nobody closes.
        weakref.finalize(connection, guard.never_raises(watch.closing)).atexit = False
        queued, self._pandaprobe_queued = self._pandaprobe_queued, ()
        for message in queued:
            watch.sent(message)

    @guard.never_raises
    def _pandaprobe_left(self, error: BaseException | None) -> None:
        if self._pandaprobe_watch is not None:
            self._pandaprobe_watch.left(error)


class _Sync(_Manager):
    def __enter__(self) -> Any:
        connection = cast(Any, super()).__enter__()
        self._pandaprobe_entered(connection)
        return connection

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> Any:
        self._pandaprobe_left(error)
        return cast(Any, super()).__exit__(kind, error, traceback)


class _Async(_Manager):
    async def __aenter__(self) -> Any:
        connection = await cast(Any, super()).__aenter__()
        self._pandaprobe_entered(connection)
        return connection

    async def __aexit__(self, kind: Any, error: BaseException | None, traceback: Any) -> Any:
        self._pandaprobe_left(error)
        return await cast(Any, super()).__aexit__(kind, error, traceback)


class _Queueing:
    _pandaprobe_queued: tuple[Any, ...]

    def send(self, event: Any) -> Any:
        result = cast(Any, super()).send(event)
        self._pandaprobe_queued = (*self._pandaprobe_queued, event)
        return result


@cache
def _watched(base: type[Any]) -> type[Any]:
    mixin = _Async if hasattr(base, "__aenter__") else _Sync
    bases = (mixin, _Queueing, base) if hasattr(base, "send") else (mixin, base)
    # The SDK's other name for entering.
    entering: dict[str, Any] = {}
    if hasattr(base, "enter"):
        entering["enter"] = vars(mixin)["__aenter__" if mixin is _Async else "__enter__"]
    return new_class(base.__name__, bases, exec_body=lambda namespace: namespace.update(entering))


def _around(hook: Hook, method: Any) -> _calls.Traced:
    before = hook.before and guard.never_raises(hook.before)
    after = hook.after and guard.never_raises(hook.after)
    failed = hook.failed and guard.never_raises(hook.failed)

    def call(wrapped: Callable[..., Any], _: Any, args: _calls.Args, kwargs: _calls.Kwargs) -> Any:
        token = before and before(*args, **kwargs)
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as error:
            if failed is not None:
                failed(token, error)
            raise
        if after is not None:
            after(result)
        return result

    async def call_async(
        wrapped: Callable[..., Any], _: Any, args: _calls.Args, kwargs: _calls.Kwargs
    ) -> Any:
        token = before and before(*args, **kwargs)
        try:
            result = await wrapped(*args, **kwargs)
        except BaseException as error:
            if failed is not None:
                failed(token, error)
            raise
        if after is not None:
            after(result)
        return result

    return call_async if iscoroutinefunction(method) else call


def _is_closed(error: BaseException) -> bool:
    # Of websockets, which only the SDK imports.
    return any(kind.__name__ == "ConnectionClosed" for kind in type(error).__mro__)
