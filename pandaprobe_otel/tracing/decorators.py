"""`@trace` and `@span`: a trace or a span around a function of any kind."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar, overload

from .. import runtime
from ..attributes import SpanKind
from ..guard import never_raises
from ..session.decorating import Block, decorate
from .labels import Id
from .messages import last_assistant_message, last_user_message
from .recording import Recording
from .span import Span
from .trace import Trace

F = TypeVar("F", bound=Callable[..., Any])


@overload
def trace(function: F, /) -> F: ...
@overload
def trace(
    *,
    name: str | None = None,
    session_id: Id | None = None,
    user_id: Id | None = None,
    tags: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Callable[[F], F]: ...
def trace(function: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
    """Makes every call of a function a trace; with or without parentheses.

    The input is the user's last message where a parameter is called `messages`, otherwise all arguments by
    name; the output is the assistant's last message, otherwise what is returned. A generator's trace covers
    its iteration, and its output is the list of what it yielded.

        @pandaprobe.trace(session_id="conversation-123")
        def my_agent(messages): ...

    Args:
        name: What the agent is called; the function's name when not given.
        session_id: The session of everything inside; stronger than `session()` and `set_session()`.
        user_id: The user of everything inside.
        tags: Tags of the trace.
        metadata: Names and any values.

    Raises:
        TypeError: When an argument has the wrong type or does not exist.
    """
    Trace(name or "function", **options)  # raises now what it would raise at every call

    def decorator(function: F) -> F:
        title = name or function.__name__
        return _around(function, lambda: Trace(title, **options), last_user_message, last_assistant_message)

    return decorator if function is None else decorator(function)


@overload
def span(function: F, /) -> F: ...
@overload
def span(
    *,
    name: str | None = None,
    kind: SpanKind | str = SpanKind.OTHER,
    model: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Callable[[F], F]: ...
def span(function: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
    """Makes every call of a function a span of the current trace; with or without parentheses.

    The input is all arguments by name, the output what is returned, or the list of what a generator yielded.

        @pandaprobe.span(kind="TOOL")
        def search(query): ...

    Args:
        name: What the step does; the function's name when not given.
        kind: What it stands for.
        model: The model that it calls, for an LLM or EMBEDDING step.
        metadata: Names and any values.

    Raises:
        TypeError: When an argument has the wrong type or does not exist.
        ValueError: When there is no such kind.
    """
    Span(name or "function", **options)  # raises now what it would raise at every call

    def decorator(function: F) -> F:
        title = name or function.__name__
        return _around(function, lambda: Span(title, **options), _as_it_is, _as_it_is)

    return decorator if function is None else decorator(function)


def _as_it_is(value: object) -> object:
    return value


def _around(
    function: F,
    record: Callable[[], Recording],
    of_input: Callable[[object], object],
    of_output: Callable[[object], object],
) -> F:
    signature = inspect.signature(function)

    def make_block(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Block:
        if not runtime.enabled():
            return _Nothing()
        recording = record()
        _take_input(recording, signature, args, kwargs, of_input)
        return _Call(recording, of_output)

    return decorate(function, make_block)


@never_raises
def _take_input(
    recording: Recording,
    signature: inspect.Signature,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    of_input: Callable[[object], object],
) -> None:
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        # The call itself raises it in a moment, in the user's own words.
        return
    bound.apply_defaults()
    arguments = dict(bound.arguments)
    if arguments and next(iter(arguments)) in ("self", "cls"):
        del arguments[next(iter(arguments))]
    recording.set_input(of_input(arguments))


class _Nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def returned(self, value: Any) -> None: ...

    def yielded(self, item: Any) -> None: ...


class _Call:
    def __init__(self, recording: Recording, of_output: Callable[[object], object]) -> None:
        self._recording = recording
        self._of_output = of_output
        self._items: list[Any] = []

    def __enter__(self) -> None:
        self._recording.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        if self._items:
            self._recording.set_output(self._items)
        self._recording.__exit__(kind, error, traceback)

    @never_raises
    def returned(self, value: Any) -> None:
        self._recording.set_output(self._of_output(value))

    def yielded(self, item: Any) -> None:
        self._items.append(item)
