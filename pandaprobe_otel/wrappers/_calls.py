"""Methods of one object, traced so that the call goes on whatever becomes of the tracing.

A tracing function has the signature of a wrapt wrapper, `traced(wrapped, instance, args, kwargs)`.
"""

import inspect
from collections.abc import Callable
from functools import cached_property, update_wrapper
from typing import Any

from opentelemetry.context import Context, attach, get_current
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import get_current_span
from wrapt import FunctionWrapper

from .. import guard, runtime
from . import _request_id, _status

Args = tuple[Any, ...]
Kwargs = dict[str, Any]
Traced = Callable[[Callable[..., Any], Any, Args, Kwargs], Any]


class _Method(FunctionWrapper):  # pyright: ignore[reportUntypedBaseClass, reportMissingTypeArgument]
    """A method that was wrapped here; its type is how it is told from everyone else's."""


def wrap_method(target: object, name: str, traced: Traced) -> None:
    """Puts `traced` around one method of one object; the second time does nothing."""
    if not is_wrapped(target, name):
        setattr(target, name, _Method(getattr(target, name), traced))


def unwrap_method(target: object, name: str) -> None:
    """Undoes `wrap_method`."""
    if is_wrapped(target, name):
        original: Any = vars(target)[name].__wrapped__
        delattr(target, name)
        if getattr(target, name, None) != original:
            setattr(target, name, original)


def is_wrapped(target: object, name: str) -> bool:
    """Whether `wrap_method` put something around this method of this object."""
    return isinstance(vars(target).get(name), _Method)


def is_uncached(target: object, name: str) -> bool:
    """Whether this is a cached property that nobody has used yet."""
    return name not in vars(target) and isinstance(getattr(type(target), name, None), cached_property)


def forget_cached(target: object, *names: str) -> None:
    """Drops cached properties of an object, which were built from its methods as they were before."""
    for name in names:
        if isinstance(getattr(type(target), name, None), cached_property):
            vars(target).pop(name, None)


def not_a_client(function: str, given: object, kinds: str, example: str) -> TypeError:
    """What `wrap_openai` and its like raise for anything but a client."""
    what = f"the class {given.__name__}" if isinstance(given, type) else f"a {type(given).__name__}"
    return TypeError(f"{function}() takes an {kinds} client, not {what}; write {function}({example})")


@guard.never_raises
def is_on() -> bool:
    """Whether calls are traced now: PandaProbe is on, and instrumentation not suppressed."""
    return runtime.enabled() and is_instrumentation_enabled()


def unobtrusive(traced: Traced, where: str, beneath: Callable[[Any], Any] = lambda method: method) -> Traced:
    """Makes a tracing function one that can fail without the caller noticing.

    The call is made exactly once, its result or exception is the caller's, and a fault of the tracing is
    reported and leaves nothing behind in the context. While PandaProbe is off, or instrumentation suppressed
    (`opentelemetry.instrumentation.utils.suppress_instrumentation`), the call is made as if never wrapped.

    Args:
        where: What is traced, for the report.
        beneath: Gives the method to trace, where others have put layers of their own around it.
    """
    make = _unobtrusive_async if inspect.iscoroutinefunction(traced) else _unobtrusive
    return make(traced, where, guard.never_raises(beneath))


def _unobtrusive(traced: Traced, where: str, beneath: Callable[[Any], Any]) -> Traced:
    def call(wrapped: Callable[..., Any], instance: Any, args: Args, kwargs: Kwargs) -> Any:
        if not is_on():
            return wrapped(*args, **kwargs)
        return attempt(
            where,
            beneath(wrapped) or wrapped,
            lambda method: traced(method, instance, args, kwargs),
            args,
            kwargs,
        )

    return call


def _unobtrusive_async(traced: Traced, where: str, beneath: Callable[[Any], Any]) -> Traced:
    async def call(wrapped: Callable[..., Any], instance: Any, args: Args, kwargs: Kwargs) -> Any:
        if not is_on():
            return await wrapped(*args, **kwargs)
        return await attempt_async(
            where,
            beneath(wrapped) or wrapped,
            lambda method: traced(method, instance, args, kwargs),
            args,
            kwargs,
        )

    return call


def attempt(
    where: str,
    method: Callable[..., Any],
    traced: Callable[[Callable[..., Any]], Any],
    args: Args = (),
    kwargs: Kwargs = {},  # noqa: B006
) -> Any:
    """Gives `traced` a method to call once; where the tracing fails, what became of that call holds."""
    outcome = _Outcome(method)
    before = get_current()
    try:
        return traced(outcome)
    except Exception as error:
        if error is outcome.error or guard.loud:
            raise
        _clean_up(where, error, before)
    return outcome.value() if outcome.known else method(*args, **kwargs)


async def attempt_async(
    where: str,
    method: Callable[..., Any],
    traced: Callable[[Callable[..., Any]], Any],
    args: Args = (),
    kwargs: Kwargs = {},  # noqa: B006
) -> Any:
    """`attempt` for coroutine functions."""
    outcome = _AsyncOutcome(method)
    before = get_current()
    try:
        return await traced(outcome)
    except Exception as error:
        if error is outcome.error or guard.loud:
            raise
        _clean_up(where, error, before)
    return outcome.value() if outcome.known else await method(*args, **kwargs)


class _Outcome:
    """Makes the call and remembers how it ended."""

    def __init__(self, wrapped: Callable[..., Any]) -> None:
        # For tracing functions that read the signature.
        update_wrapper(self, wrapped, updated=())
        self._wrapped = wrapped
        self._around = get_current_span()
        self._result: Any = None
        self.error: BaseException | None = None
        self.known = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            self._result = self._wrapped(*args, **kwargs)
        except BaseException as error:
            self.error = error
            raise
        finally:
            self._ended()
        return self._result

    def _ended(self) -> None:
        self.known = True
        span = get_current_span()
        if span is not self._around:
            _request_id.note(span, self._result if self.error is None else self.error)
            if self.error is not None:
                _status.note(span, self.error)

    def value(self) -> Any:
        """What the call gave: its result, or its exception raised again."""
        if self.error is not None:
            raise self.error
        return self._result


class _AsyncOutcome(_Outcome):
    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            self._result = await self._wrapped(*args, **kwargs)
        except BaseException as error:
            self.error = error
            raise
        finally:
            self._ended()
        return self._result


def _clean_up(where: str, error: Exception, before: Context) -> None:
    """Reports a fault, and ends the span that it left current."""
    if get_current() is not before:
        left = get_current_span()
        if left is not get_current_span(before):
            left.end()
        attach(before)
    guard.report(where, error)
