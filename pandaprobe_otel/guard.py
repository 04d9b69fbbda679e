"""The one guard around code of ours that runs inside the user's: it never raises."""

import logging
import math
import traceback
from collections.abc import Callable
from functools import wraps
from time import monotonic
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_logger = logging.getLogger("pandaprobe_otel")
# When a cause was said last, and how often it has come up since.
_said: dict[str, tuple[float, int]] = {}

# Seconds until an error that goes on is said again: an outage of an hour is a dozen lines.
REPEATED = 300.0

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
    """Logs a fault of ours by place and type; without its message, which may hold a user's content."""
    name = type(error).__name__
    trace = "".join(traceback.format_tb(error.__traceback__))
    warn_once(
        _logger,
        f"{where} {name}",
        "%s failed inside PandaProbe (%s); your code goes on:\n%s",
        where,
        name,
        trace,
        every=REPEATED,
    )


def warn_once(
    logger: logging.Logger, cause: str, message: str, *args: object, every: float = math.inf
) -> None:
    """Logs a warning the first time that `cause` is given, and then once in so many seconds.

    Args:
        every: `REPEATED` for what goes wrong by itself; what is said of the user's code is said once.
    """
    now = monotonic()
    at, unsaid = _said.get(cause, (-math.inf, 0))
    if now - at < every:
        _said[cause] = (at, unsaid + 1)
        return
    _said[cause] = (now, 0)
    if unsaid:
        message, args = f"{message} (and %d times since this was said last)", (*args, unsaid)
    logger.warning(message, *args)


def forget_warnings() -> None:
    """Makes every cause new again."""
    _said.clear()
