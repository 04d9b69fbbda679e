"""A block around a function of any kind: plain, coroutine, generator or async generator.

A generator's body runs in steps, in the context of whoever asks for the next item. Its block is attached for
each step and taken off before the consumer goes on; no task is made for it, so cancel scopes and `asend` work
as written.
"""

import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from functools import wraps
from types import TracebackType
from typing import Any, Protocol, TypeVar, cast

from opentelemetry.context import attach, get_current

from .identity import ambient, put_back

F = TypeVar("F", bound=Callable[..., Any])


class Block(Protocol):
    """What is entered before a function runs and left after it."""

    def __enter__(self) -> Any: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> Any: ...

    def returned(self, value: Any) -> None:
        """Takes note of what the function returned."""
        ...

    def yielded(self, item: Any) -> None:
        """Takes note of one item of a generator."""
        ...


def decorate(function: F, make_block: Callable[[tuple[Any, ...], dict[str, Any]], Block]) -> F:
    """`function` with a block of its own around each call; a generator's covers its iteration.

    Args:
        function: The function.
        make_block: Makes the block of one call from its arguments.
    """
    wrapper: Callable[..., Any]
    if inspect.isasyncgenfunction(function):

        @wraps(function)
        async def async_steps(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            body, block, step = function(*args, **kwargs), make_block(args, kwargs), Step()
            with step:
                block.__enter__()
            try:
                with step:
                    item = await anext(body)
                while True:
                    block.yielded(item)
                    try:
                        sent = yield item
                    except GeneratorExit:
                        with step:
                            await body.aclose()
                        raise
                    except BaseException as thrown:
                        with step:
                            item = await body.athrow(thrown)
                    else:
                        with step:
                            item = await body.asend(sent)
            except StopAsyncIteration:
                step.leave(block, None)
            except BaseException as error:
                step.leave(block, error)
                raise

        wrapper = async_steps
    elif inspect.isgeneratorfunction(function):

        @wraps(function)
        def steps(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            body, block, step = function(*args, **kwargs), make_block(args, kwargs), Step()
            with step:
                block.__enter__()
            try:
                with step:
                    item = next(body)
                while True:
                    block.yielded(item)
                    try:
                        sent = yield item
                    except GeneratorExit:
                        with step:
                            body.close()
                        raise
                    except BaseException as thrown:
                        with step:
                            item = body.throw(thrown)
                    else:
                        with step:
                            item = body.send(sent)
            except StopIteration as stop:
                step.leave(block, None)
                return stop.value
            except BaseException as error:
                step.leave(block, error)
                raise

        wrapper = steps
    elif inspect.iscoroutinefunction(function):

        @wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            block = make_block(args, kwargs)
            with block:
                value = await function(*args, **kwargs)
                block.returned(value)
                return value

        wrapper = awaited
    else:

        @wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            block = make_block(args, kwargs)
            with block:
                value = function(*args, **kwargs)
                block.returned(value)
                return value

        wrapper = called
    return cast(F, wrapper)


class Step:
    """One step of work that goes on in steps: its own context is current inside, the consumer's after it."""

    def __init__(self) -> None:
        self._context = get_current()
        self._ambient = ambient.get()

    def __enter__(self) -> None:
        self._token = attach(self._context)
        self._ambient_token = ambient.set(self._ambient)

    def __exit__(self, *_: object) -> None:
        self._context = get_current()
        self._ambient = ambient.get()
        put_back(self._token)
        put_back(self._ambient_token)

    def leave(self, block: Block, error: BaseException | None) -> None:
        """Leaves the block from inside a step."""
        with self:
            block.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)
