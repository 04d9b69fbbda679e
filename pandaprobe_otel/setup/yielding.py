"""The provider that is built where there is none, which gives way when the user sets one.

OpenTelemetry keeps the first global provider and refuses every later one. Ours must not keep the user's out,
whose exporter would then receive nothing; so it takes the place without claiming it. Only this module touches
OpenTelemetry's own names for that.
"""

from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

_api: Any = trace
# Where OpenTelemetry has renamed them, the first provider stays, as it always did.
_IS_KNOWN = hasattr(_api, "_set_tracer_provider") and hasattr(_api, "_TRACER_PROVIDER")
_listeners: list[Callable[[trace.TracerProvider], None]] = []


def when_provider_is_set(listener: Callable[[trace.TracerProvider], None]) -> None:
    """Calls `listener` with the global provider whenever somebody sets one."""
    if _IS_KNOWN and not _listeners:
        set_provider = _api._set_tracer_provider

        def set_and_tell(*args: Any, **kwargs: Any) -> None:
            set_provider(*args, **kwargs)
            for told in _listeners:
                told(_api.get_tracer_provider())

        # What `set_tracer_provider` calls, by whatever name it was imported.
        _api._set_tracer_provider = set_and_tell
    _listeners.append(listener)


class YieldingTracerProvider(TracerProvider):
    """An SDK provider whose tracers make their spans at `successor` once there is one."""

    successor: trace.TracerProvider | None = None

    def take_place(self) -> None:
        """Becomes the global provider, until another one is set."""
        if not _IS_KNOWN:
            trace.set_tracer_provider(self)
        elif _api._TRACER_PROVIDER is None:
            _api._TRACER_PROVIDER = self

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        """A tracer that outlives this provider's place."""
        return _Tracer(self, super().get_tracer(*args, **kwargs), args, kwargs)


class _Tracer(trace.Tracer):
    def __init__(
        self, provider: YieldingTracerProvider, tracer: trace.Tracer, args: Any, kwargs: Any
    ) -> None:
        self._provider = provider
        self._tracer = tracer
        self._made_by: trace.TracerProvider | None = None
        self._asked_for = args, kwargs

    def _current(self) -> trace.Tracer:
        successor = self._provider.successor
        if successor is not None and successor is not self._made_by:
            args, kwargs = self._asked_for
            self._tracer = successor.get_tracer(*args, **kwargs)
            self._made_by = successor
        return self._tracer

    def start_span(self, *args: Any, **kwargs: Any) -> trace.Span:
        return self._current().start_span(*args, **kwargs)

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        return self._current().start_as_current_span(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        # A copy is asked for names before it has any of its own.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._current(), name)
