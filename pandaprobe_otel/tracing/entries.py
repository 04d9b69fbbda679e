"""Which turn a span belongs to, and which spans begin one."""

from opentelemetry.context import Context
from opentelemetry.trace import Span, get_current_span

from ..attributes import PANDAPROBE_TRACE_ID
from ..ids import pandaprobe_trace_id
from ..session import identity, stamps
from ..session.turn import Turn, open_turn


def turn_at(span: Span, context: Context) -> tuple[Turn, bool]:
    """The turn of a span that has just started, and whether the span is its entry.

    Inside an open turn of the same session it is a part of that; otherwise it is the entry of a new one.

    Args:
        span: A valid span, not yet current.
        context: What it was started in.
    """
    session_id = identity.current().session.id
    if turn := open_turn(context, session_id):
        return turn, False
    ids = span.get_span_context()
    is_root = not get_current_span().get_span_context().is_valid
    turn = Turn(pandaprobe_trace_id(ids.trace_id, ids.span_id, is_root=is_root), session_id, ids.span_id)
    stamps.add(span, PANDAPROBE_TRACE_ID, turn.trace_id)
    return turn, True
