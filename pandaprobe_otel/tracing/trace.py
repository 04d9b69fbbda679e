"""`start_trace` and `Trace`: one turn of an agent."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any
from uuid import UUID

from opentelemetry.context import Context
from opentelemetry.trace import StatusCode
from typing_extensions import Self

from .. import runtime
from ..attributes import (
    GEN_AI_AGENT_NAME,
    GEN_AI_OPERATION_NAME,
    OPERATION_OF_KIND,
    PANDAPROBE_SPAN_KIND,
    PANDAPROBE_STATUS,
    PANDAPROBE_TAGS,
    SpanKind,
    TraceStatus,
)
from ..session import identity
from ..session.identity import UNKNOWN, Frame
from ..session.turn import Turn, with_turn
from .entries import turn_at
from .labels import Id, checked_tags, explicit
from .recording import Recording
from .span import Span


class Trace(Recording):
    """One turn of an agent; a context manager, sync and async. PandaProbe's `TraceContext`.

    It is an OpenTelemetry span: with a current span it continues that trace. Inside another `Trace` of the
    same session it is a part of that turn, otherwise it is a PandaProbe trace of its own.
    """

    def __init__(
        self,
        name: str,
        *,
        input: object = None,
        session_id: Id | None = None,
        user_id: Id | None = None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(name, metadata)
        self._named = {"session": explicit(session_id, "session"), "user": explicit(user_id, "user")}
        self._frame: Frame | None = None
        self._turn = Turn(str(UUID(int=0)), None)
        self._is_entry = False
        self._set(PANDAPROBE_SPAN_KIND, SpanKind.AGENT.value)
        self._set(GEN_AI_OPERATION_NAME, OPERATION_OF_KIND[SpanKind.AGENT])
        self._set(GEN_AI_AGENT_NAME, name)
        if input is not None:
            self.set_input(input)
        if tags is not None:
            self.set_tags(tags)

    @property
    def trace_id(self) -> str:
        """The id that PandaProbe shows, a UUID; all zeros before the block and when nothing is recorded."""
        return self._turn.trace_id

    @property
    def otel_trace_id(self) -> str:
        """OpenTelemetry's trace id, 32 hexadecimal digits."""
        return f"{self._span.get_span_context().trace_id:032x}"

    def span(
        self,
        name: str,
        *,
        kind: SpanKind | str = SpanKind.OTHER,
        model: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Span:
        """A step of this trace, to be entered with `with` or `async with`.

        Args:
            name: What the step does.
            kind: What it stands for.
            model: The model that it calls, for an LLM or EMBEDDING step.
            metadata: Names and any values.

        Raises:
            ValueError: When there is no such kind.
        """
        return Span(name, kind=kind, model=model, metadata=metadata, parent=self._span)

    def set_status(self, status: TraceStatus | str) -> None:
        """Sets how the trace ended, where an exception does not say it.

        Args:
            status: PENDING, RUNNING, COMPLETED or ERROR.

        Raises:
            ValueError: When there is no such status.
        """
        try:
            status = TraceStatus(status)
        except ValueError:
            known = ", ".join(TraceStatus.__members__)
            raise ValueError(f"{status!r} is no status of a trace; they are {known}") from None
        self._set(PANDAPROBE_STATUS, status.value)
        if status is TraceStatus.ERROR:
            self._set_status(StatusCode.ERROR)

    def set_tags(self, tags: Sequence[str]) -> None:
        """Sets the tags, in place of those set before.

        Args:
            tags: The tags.

        Raises:
            TypeError: When it is not a sequence of strings.
        """
        self._set(PANDAPROBE_TAGS, checked_tags(tags))

    def __enter__(self) -> Self:
        if any(known is not UNKNOWN for known in self._named.values()) and runtime.enabled():
            self._frame = identity.open_frame(**self._named)
            self._frame.enter()
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        if self._is_entry:
            self._turn.ended = True
        super().__exit__(kind, error, traceback)
        if self._frame is not None:
            self._frame.leave()

    def _context_inside(self, context: Context) -> Context:
        if not self._span.get_span_context().is_valid:
            return context
        self._turn, self._is_entry = turn_at(self._span, context)
        return with_turn(self._turn, context) if self._is_entry else context


def start_trace(
    name: str,
    *,
    input: object = None,
    session_id: Id | None = None,
    user_id: Id | None = None,
    tags: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Trace:
    """Starts a trace, one turn of an agent, when its block is entered.

        with pandaprobe.start_trace("my-agent", input={"messages": messages}) as trace:
            with trace.span("call", kind="LLM", model="gpt-5.4-nano") as span:
                ...
            trace.set_output({"messages": [{"role": "assistant", "content": reply}]})

    Args:
        name: What the agent is called.
        input: Any value; messages as `{"messages": [{"role": …, "content": …}]}`.
        session_id: The session of everything inside; stronger than `session()` and `set_session()`.
        user_id: The user of everything inside.
        tags: Tags of the trace.
        metadata: Names and any values.

    Raises:
        TypeError: When an argument has the wrong type.
    """
    if not runtime.enabled():
        input = None
    return Trace(name, input=input, session_id=session_id, user_id=user_id, tags=tags, metadata=metadata)
