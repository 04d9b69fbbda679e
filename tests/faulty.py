"""Faults on purpose: each function of a module made to raise, one by one."""

import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any, NoReturn

from pandaprobe_otel import guard


@dataclass(frozen=True)
class Step:
    """One function; whoever holds a reference to it gets the fault, since its code is replaced in place."""

    function: FunctionType

    def __str__(self) -> str:
        return f"{self.function.__module__.rpartition('.')[2]}.{self.function.__qualname__}"

    @contextmanager
    def failing(self) -> Iterator[None]:
        """A block in which it raises, and in which the guard is as quiet as in a user's process."""
        code, loud = self.function.__code__, guard.loud
        self._replace(_fault.__code__)
        guard.loud = False
        try:
            yield
        finally:
            self._replace(code)
            guard.loud = loud

    def _replace(self, code: CodeType) -> None:
        with warnings.catch_warnings():
            # From 3.13 on Python warns where a coroutine function or a generator becomes a plain one.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.function.__code__ = code


def each_step_failing(*modules: ModuleType) -> list[Step]:
    """The functions and methods that are defined in these modules."""
    found = [
        held
        for module in modules
        for owner in (module, *(kind for kind in vars(module).values() if inspect.isclass(kind)))
        for held in vars(owner).values()
        if inspect.isfunction(held) and held.__module__ == module.__name__ and not held.__code__.co_freevars
    ]
    return [Step(function) for function in dict.fromkeys(found)]


def _fault(*_: Any, **__: Any) -> NoReturn:
    raise ZeroDivisionError("of the tracing")
