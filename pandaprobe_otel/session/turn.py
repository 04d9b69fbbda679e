"""The PandaProbe trace, one turn of an agent, that is open in a context."""

from dataclasses import dataclass
from uuid import UUID

from opentelemetry.context import Context, create_key, get_current, set_value

_KEY = create_key("pandaprobe-turn")


@dataclass
class Turn:
    """A PandaProbe trace and the session that it belongs to.

    Args:
        entry_id: The span id of its entry, OpenTelemetry's.
    """

    trace_id: str
    session_id: str | None
    entry_id: int = 0
    ended: bool = False

    @property
    def text(self) -> str:
        """What another process has to know of it."""
        return f"{self.trace_id}.{self.entry_id:016x}"


def turn_of_text(text: str, session_id: str | None) -> Turn | None:
    """The turn that another process has told of; None when it is none."""
    trace_id, _, entry_id = text.partition(".")
    try:
        return Turn(str(UUID(trace_id)), session_id, int(entry_id, 16))
    except ValueError:
        return None


def turn_in(context: Context | None = None) -> Turn | None:
    """The turn that a span started in `context` is a part of."""
    turn = (get_current() if context is None else context).get(_KEY)
    return turn if isinstance(turn, Turn) else None


def open_turn(context: Context, session_id: str | None) -> Turn | None:
    """The turn that work of this session joins: what a turn has left over is no part of it after its end."""
    turn = turn_in(context)
    return turn if turn is not None and not turn.ended and turn.session_id == session_id else None


def with_turn(turn: Turn, context: Context) -> Context:
    """`context` inside `turn`."""
    return set_value(_KEY, turn, context)
