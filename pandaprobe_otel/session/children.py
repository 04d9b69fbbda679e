"""The session of a child process: `session_env` puts it into the environment, the child takes it from there.

In the variables of OpenTelemetry's convention for environments, so that programs that are not ours read them
too. As for threads: inside one of our own traces the child's spans hang under it; elsewhere only the session
goes along, for whose parent other people's spans have is not ours to change.
"""

import os
import threading
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

_joined = False


def session_env() -> dict[str, str]:
    """What a child process needs in its environment to belong to the session and the user that hold here.

    Inside a trace of this package the child's spans become a part of the trace, too. The variables are those
    of OpenTelemetry's convention, BAGGAGE, TRACEPARENT and TRACESTATE.

        subprocess.run(["python", "tool.py"], env={**os.environ, **pandaprobe.session_env()})
    """
    runtime.ensure_started()
    context = identity.with_ids(get_current())
    env: dict[str, str] = {}
    if turn := open_turn(context, identity.current().session.id):
        context = baggage.set_baggage(PANDAPROBE_TRACE_ID, turn.text, context)
        carrier: dict[str, str] = {}
        _TRACE.inject(carrier, context)
        env = {name.upper(): carrier.get(name, "") for name in ("traceparent", "tracestate")}
    text = _baggage_text(context)
    # What this process was started with may hold no longer, and would be passed on.
    if text or "BAGGAGE" in os.environ:
        env["BAGGAGE"] = text
    return env


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
    carrier = {name: os.environ.get(name.upper(), "") for name in ("baggage", "traceparent", "tracestate")}
    if PANDAPROBE_TRACE_ID not in carrier["baggage"] or get_current_span().get_span_context().is_valid:
        return
    context = _BAGGAGE.extract(carrier, _TRACE.extract(carrier, get_current()))
    turn = turn_of_text(str(baggage.get_baggage(PANDAPROBE_TRACE_ID, context)), identity.current().session.id)
    if turn is not None and get_current_span(context).get_span_context().is_valid:
        attach(with_turn(turn, baggage.remove_baggage(PANDAPROBE_TRACE_ID, context)))
