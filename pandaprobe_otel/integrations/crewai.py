# 787 MB, so it is not there where types are checked.
# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""`CrewAIAdapter`: crews and flows become spans of a session.

CrewAI tells all that it does on an event bus, in the thread and task that does it, so that a span is current
for as long as what it stands for. `_crewai_steps` says which event becomes which span.
"""

from collections.abc import Callable, Mapping, Sequence
from contextvars import Token
from dataclasses import dataclass
from typing import Any

from opentelemetry.context import Context, attach, create_key, get_value, set_value

from .. import guard, runtime
from ..session.identity import put_back
from ..tracing.labels import Id
from ..tracing.runs import Run
from ..wrappers import _calls
from ..wrappers._chat_messages import field
from ._adapter import Adapter

try:
    from crewai.events.event_bus import crewai_event_bus

    from ._crewai_steps import Step, ends, starter_of
except ImportError as error:
    raise ImportError("CrewAIAdapter needs crewai: pip install 'pandaprobe-otel[crewai]'") from error


# The innermost open span of a context. CrewAI's own account of what is inside what goes wrong where it tells
# a failed model call twice.
_INNERMOST = create_key("pandaprobe-crewai")


@dataclass
class _Open:
    """A span that is current until CrewAI tells its end.

    Args:
        kind: What the events of its beginning and its end have in common.
        run: Of what the user's code has started; what is inside has none of its own.
    """

    kind: str
    step: Step
    run: Run | None
    outer: "_Open | None"
    token: Token[Context] | None = None
    ended: bool = False

    def __del__(self) -> None:
        # A kickoff that is cancelled tells of no end; what is left of it goes with its task.
        if not self.ended:
            self.leave()

    @guard.never_raises
    def leave(self) -> None:
        """Ends what no event ends."""
        self.ended = True
        self.step.leave()
        if self.run is not None:
            self.run.end()


class CrewAIAdapter(Adapter):
    """Traces crews, flows, tasks, agents, model calls, tools and searches of CrewAI, each one span.

        CrewAIAdapter(session_input="conversation_id").instrument()
        crew.kickoff(inputs={"conversation_id": "conversation-123", "question": question})

    A kickoff is one turn, unless it runs inside a trace of the same session.

    Args:
        session_input: The name of the input of a kickoff that holds its session, where no block names one.
    """

    def __init__(
        self,
        *,
        session_id: Id | None = None,
        user_id: Id | None = None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        session_input: str | None = None,
    ) -> None:
        super().__init__(session_id=session_id, user_id=user_id, tags=tags, metadata=metadata)
        self._session_input = session_input

    def _start(self) -> None:
        _calls.wrap_method(crewai_event_bus, "emit", self._emit)

    def _stop(self) -> None:
        _calls.unwrap_method(crewai_event_bus, "emit")

    def _emit(self, wrapped: Callable[..., Any], bus: Any, args: Any, kwargs: Any) -> Any:
        # The bus gives the event its place among the others first.
        emitted = wrapped(*args, **kwargs)
        if runtime.enabled():
            self._take(*args, **kwargs)
        return emitted

    @guard.never_raises
    def _take(self, source: Any, event: Any) -> None:
        kind, _, _ = event.type.rpartition("_")
        start = starter_of(source, event)
        if start is not None:
            self._begin(kind, start, source, event)
        elif ends(source, event) and (ended := _nearest(kind)) is not None:
            _end(ended, event)
        elif (inside := _innermost()) is not None:
            inside.step.note(event)

    def _begin(self, kind: str, start: Callable[[Any, Any], Step], source: Any, event: Any) -> None:
        outer, run = _innermost(), None
        if outer is not None:
            step = start(source, event)
            context = step.context
        else:
            conversation = self._session_of(source, event)
            run = Run(self._labels, conversation)
            with run.starting():
                step = start(source, event)
                step.converse(conversation)
                context = run.entered(step.span, step.context, is_turn=step.is_turn)
        begun = _Open(kind, step, run, outer)
        begun.token = attach(set_value(_INNERMOST, begun, context))

    def _session_of(self, source: Any, event: Any) -> str | None:
        if self._session_input is None:
            return None
        # A flow that goes on after a human's answer is given no inputs, but has kept them in its state.
        known = getattr(event, "inputs", None) or getattr(source, "state", None)
        id = field(known, self._session_input)
        return None if id is None else str(id)


def _innermost() -> _Open | None:
    known: Any = get_value(_INNERMOST)
    while known is not None and known.ended:
        known = known.outer
    return known


def _nearest(kind: str) -> _Open | None:
    known = _innermost()
    while known is not None and known.kind != kind:
        known = known.outer
    return known


def _end(ended: _Open, event: Any) -> None:
    inside = _innermost()
    while inside is not None and inside is not ended:
        inside.leave()
        inside = inside.outer
    ended.ended = True
    if ended.token is not None:
        put_back(ended.token)
    ended.step.end(event)
    if ended.run is not None:
        ended.run.end()
