"""Agent sessions for OpenTelemetry.

import pandaprobe_otel as pandaprobe

with pandaprobe.session("conversation-123"):
    agent.run()  # every span in here, whoever makes it, carries session.id
"""

import importlib
from typing import TYPE_CHECKING, Any

from . import runtime
from ._version import __version__
from .attributes import ScoreDataType, SpanKind, SpanStatusCode, TraceStatus
from .session.scope import current_session, current_user, session, set_session, set_user, user
from .tracing.decorators import span, trace
from .tracing.span import Span
from .tracing.trace import Trace, start_trace

if TYPE_CHECKING:
    from .session.children import session_env
    from .session.log_stamping import SessionLogRecordProcessor
    from .session.stamping import SessionSpanProcessor
    from .setup.client import Client, flush, get_client, init, score, shutdown
    from .setup.exporting import PandaProbeSpanExporter

__all__ = [
    "Client",
    "PandaProbeSpanExporter",
    "ScoreDataType",
    "SessionLogRecordProcessor",
    "SessionSpanProcessor",
    "Span",
    "SpanKind",
    "SpanStatusCode",
    "Trace",
    "TraceStatus",
    "__version__",
    "current_session",
    "current_user",
    "flush",
    "get_client",
    "init",
    "score",
    "session",
    "session_env",
    "set_session",
    "set_user",
    "shutdown",
    "span",
    "start_trace",
    "trace",
    "user",
]

# What needs OpenTelemetry's SDK or an exporter is loaded at first use: 100 ms less at import.
_LAZY = {
    "Client": "setup.client",
    "flush": "setup.client",
    "get_client": "setup.client",
    "init": "setup.client",
    "score": "setup.client",
    "shutdown": "setup.client",
    "PandaProbeSpanExporter": "setup.exporting",
    "session_env": "session.children",
    "SessionLogRecordProcessor": "session.log_stamping",
    "SessionSpanProcessor": "session.stamping",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def _start() -> None:
    from .setup.client import start_from_environment

    start_from_environment()


runtime.on_first_use(_start)
