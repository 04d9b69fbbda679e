"""The PandaProbe trace, one turn of an agent, that is open in a context."""

from dataclasses import dataclass

from opentelemetry.context import Context, create_key, get_value, set_value

_KEY = create_key("pandaprobe-turn")


@dataclass
class Turn:
    """A PandaProbe trace and the session that it belongs to."""

    trace_id: str
    session_id: str | None
    ended: bool = False


def turn_in(context: Context | None = None) -> Turn | None:
    """The turn that a span started in `context` is a part of."""
    turn = get_value(_KEY, context)
    return turn if isinstance(turn, Turn) else None


def with_turn(turn: Turn, context: Context) -> Context:
    """`context` inside `turn`."""
    return set_value(_KEY, turn, context)
