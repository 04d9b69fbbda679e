"""The session of a child process: `session_env` puts it into the environment, the child takes it from there.

In the variables of OpenTelemetry's convention for environments, so that programs that are not ours read them
too. Unsigned: who sets a process's environment, or sends a worker its tasks, decides what it does anyway.

As for threads: inside one of our own traces the child's spans hang under it; elsewhere only the session goes
along, for whose parent other people's spans have is not ours to change.
"""

import os
import threading
from collections.abc import Mapping
from urllib.parse import quote

from opentelemetry import baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context, attach, get_current
from opentelemetry.trace import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from .. import runtime
from ..attributes import PANDAPROBE_TRACE_ID, SESSION_ID, USER_ID
from ..guard import never_raises
from . import identity
from .turn import open_turn, turn_of_text, with_turn

_TRACE = TraceContextTextMapPropagator()
_BAGGAGE = W3CBaggagePropagator()
# A longer header is ignored whole by those who read it.
_MOST_CHARACTERS = 8192
_OURS = (SESSION_ID, USER_ID, PANDAPROBE_TRACE_ID)
_NAMES = ("baggage", "traceparent", "tracestate")

_joined = False


def session_env() -> dict[str, str]:
    """What a child process needs in its environment to belong to the session and the user that hold here.

    Inside a trace of this package the child's spans become a part of the trace, too. The variables are those
    of OpenTelemetry's convention, BAGGAGE, TRACEPARENT and TRACESTATE.

        subprocess.run(["python", "tool.py"], env={**os.environ, **pandaprobe.session_env()})
    """
    runtime.ensure_started()
    env = {name.upper(): value for name, value in carrier().items()}
    # What this process was started with may hold no longer, and would be passed on.
    if "BAGGAGE" in os.environ:
        env.setdefault("BAGGAGE", "")
    return env


def carrier() -> dict[str, str]:
    """What another process of ours needs to go on here."""
    context = identity.with_ids(get_current())
    written: dict[str, str] = {}
    if turn := open_turn(context, identity.current().session.id):
        context = baggage.set_baggage(PANDAPROBE_TRACE_ID, turn.text, context)
        written["tracestate"] = ""
        _TRACE.inject(written, context)
    if text := _baggage_text(context):
        written["baggage"] = text
    return written


def _baggage_text(context: Context) -> str:
    items = sorted(baggage.get_all(context).items(), key=lambda item: item[0] not in _OURS)
    members = [f"{_quoted(key)}={_quoted(value)}" for key, value in items]
    while sum(map(len, members)) + len(members) > _MOST_CHARACTERS:
        members.pop()
    return ",".join(members)


def _quoted(value: object) -> str:
    return quote(str(value), safe="", errors="replace")


@never_raises
def join_parent() -> None:
    """Makes the trace that `session_env` has given this process the current one; once, in the main thread."""
    global _joined
    if _joined or threading.current_thread() is not threading.main_thread():
        return
    _joined = True
    if not get_current_span().get_span_context().is_valid:
        join_trace({name: os.environ.get(name.upper(), "") for name in _NAMES})


def join_trace(carrier: Mapping[str, str]) -> None:
    """Makes the trace of this package that `carrier` was written in the current one, if in any."""
    if PANDAPROBE_TRACE_ID not in carrier.get("baggage", ""):
        return
    context = _BAGGAGE.extract(carrier, _TRACE.extract(carrier, get_current()))
    turn = turn_of_text(str(baggage.get_baggage(PANDAPROBE_TRACE_ID, context)), identity.current().session.id)
    if turn is not None and get_current_span(context).get_span_context().is_valid:
        attach(with_turn(turn, baggage.remove_baggage(PANDAPROBE_TRACE_ID, context)))
