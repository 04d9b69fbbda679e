"""The one guard around code of ours that runs inside the user's: it never raises."""

import logging
import traceback
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_logger = logging.getLogger("pandaprobe_otel")
_said: set[str] = set()

# The project's own tests set this, so that no fault of ours hides behind the guard.
loud = False


def never_raises(function: Callable[P, R]) -> Callable[P, R | None]:
    """Makes `function` answer None where it would raise, with one warning per kind of fault."""

    @wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            caught(function.__qualname__, error)
            return None

    return guarded


def caught(where: str, error: Exception) -> None:
    """What `never_raises` does with a fault; for code that runs at every span, where a wrapper costs."""
    if loud:
        raise error
    report(where, error)


def report(where: str, error: BaseException) -> None:
    """Logs a fault of ours once per place and type; without its message, which may hold a user's content."""
    name = type(error).__name__
    trace = "".join(traceback.format_tb(error.__traceback__))
    warn_once(
        _logger,
        f"{where} {name}",
        "%s failed inside PandaProbe (%s); your code goes on:\n%s",
        where,
        name,
        trace,
    )


def warn_once(logger: logging.Logger, cause: str, message: str, *args: object) -> None:
    """Logs a warning the first time that `cause` is given."""
    if cause not in _said:
        _said.add(cause)
        logger.warning(message, *args)


def forget_warnings() -> None:
    """Makes every cause new again."""
    _said.clear()
