"""What is running now: the client that is active, started from the environment at first use.

The rooms that make spans stand below the one that builds clients; here they meet without importing it.
"""

from collections.abc import Callable
from typing import Protocol

from opentelemetry.trace import NoOpTracer, NoOpTracerProvider, Tracer, TracerProvider


class Active(Protocol):
    """What the rooms below know of a client."""

    @property
    def tracer_provider(self) -> TracerProvider:
        """Where our own spans are made."""
        ...

    @property
    def tracer(self) -> Tracer:
        """The tracer of the manual API."""
        ...

    @property
    def captures_content(self) -> bool:
        """Whether inputs, outputs and messages are recorded."""
        ...


NO_PROVIDER = NoOpTracerProvider()
NO_TRACER = NoOpTracer()

_active: Active | None = None
_start: Callable[[], None] | None = None
_last: list[Callable[[], None]] = []


def on_first_use(start: Callable[[], None]) -> None:
    """Names what `ensure_started` calls while no client is active."""
    global _start
    _start = start


def activate(client: Active | None) -> None:
    """Makes `client` the active one; None makes none active."""
    global _active
    _active = client


def active() -> Active | None:
    """The active client."""
    return _active


def ensure_started() -> None:
    """Starts the client from the environment when none is active; never raises."""
    if _active is None and _start is not None:
        _start()


def begin_last(begin: Callable[[], None]) -> None:
    """Names what `all_have_begun` calls: what follows the instrumentations that others have begun."""
    _last.append(begin)


def all_have_begun() -> None:
    """Begins what was to be last, once."""
    while _last:
        _last.pop()()


def enabled() -> bool:
    """Whether spans are made at all."""
    ensure_started()
    return _active is not None and _active.tracer is not NO_TRACER


def captures_content() -> bool:
    """Whether inputs, outputs and messages are recorded; does not start the client, which may come later."""
    return _active is None or _active.captures_content


def tracer_provider() -> TracerProvider:
    """Where our own spans are made; one that makes none when PandaProbe is off."""
    ensure_started()
    return _active.tracer_provider if _active is not None else NO_PROVIDER


def tracer() -> Tracer:
    """The tracer of the manual API; one that makes no spans when PandaProbe is off."""
    ensure_started()
    return _active.tracer if _active is not None else NO_TRACER
