"""Runs of frameworks, which begin in one callback and end in another, maybe of another thread or task."""

from collections.abc import Generator
from contextlib import contextmanager

from opentelemetry.context import Context, attach, get_current
from opentelemetry.trace import Span as OTelSpan

from ..attributes import GEN_AI_PROVIDER_NAME, SESSION_ID, SpanKind
from ..session import identity, stamps
from ..session.identity import put_back
from ..session.turn import Turn, with_turn
from .entries import turn_at
from .labels import Labels
from .span import Span


class Run:
    """The session of one run, and the turn that it is unless it runs inside one of the same session.

        run = Run(labels, thread_id)
        with run.starting():
            span = tracer.start_span("invoke_agent")
            inside = run.entered(span, set_span_in_context(span))
        ...
        run.end()

    Args:
        labels: What was said once of all runs.
        framework_session_id: The framework's own id of the session.
    """

    def __init__(self, labels: Labels, framework_session_id: str | None = None) -> None:
        self._labels = labels
        self._frame = labels.frame(framework_session_id)
        self._turn: Turn | None = None

    @contextmanager
    def starting(self) -> Generator[None]:
        """A block in which the session holds, for starting the span of the run."""
        if self._frame is None:
            yield
            return
        token = attach(self._frame.context())
        try:
            yield
        finally:
            put_back(token)

    def entered(self, span: OTelSpan, context: Context, *, is_turn: bool = True) -> Context:
        """Writes the labels on the run's span; the context for what happens inside the run.

        Args:
            span: Started inside `starting`, and not current.
            context: One with the span in it.
            is_turn: False for a single call, which is a step and no turn.
        """
        self._labels.put_on(span)
        if is_turn and span.get_span_context().is_valid:
            turn, is_entry = turn_at(span, context)
            if is_entry:
                self._turn = turn
                return with_turn(turn, context)
        return context

    def joined(self, framework_session_id: str, span: OTelSpan, context: Context) -> Context:
        """Puts a run into the session that the framework tells of later, unless a stronger one holds in it.

        Args:
            framework_session_id: The framework's own id of the session.
            span: The run's.
            context: The one for what happens inside the run.

        Returns:
            The context for what happens inside from now on.
        """
        if identity.current(context).session.source <= identity.Source.FRAMEWORK:
            return context
        token = attach(context)
        try:
            self._frame = self._labels.frame(framework_session_id)
            if self._frame is not None:
                context = self._frame.context()
        finally:
            put_back(token)
        session_id = identity.current(context).session.id
        if session_id is not None:
            stamps.add(span, SESSION_ID, session_id)
        if self._turn is not None:
            self._turn.session_id = session_id
        return context

    def end(self) -> None:
        """Ends turn and session; for the run's span, whoever made it ends it."""
        if self._turn is not None:
            self._turn.ended = True
        if self._frame is not None:
            self._frame.leave()


class Step(Span):
    """A `Span` that is never current by itself: it starts as it is made, and ends when somebody says so.

    It has the verbs of an invocation of `opentelemetry-util-genai`, for operations that those do not know.

    Args:
        context: What it is started in; the current one when not given.
        start_ns: When it began, in nanoseconds since 1970; now when not given.
    """

    def __init__(
        self,
        name: str,
        *,
        kind: SpanKind | str,
        model: str | None = None,
        context: Context | None = None,
        start_ns: int | None = None,
    ) -> None:
        super().__init__(name, kind=kind, model=model)
        self.context = self._start(get_current() if context is None else context, start_ns)
        self._ended = False

    def set_provider(self, name: str) -> None:
        """Records whose model is called; `gen_ai.provider.name`."""
        self._set(GEN_AI_PROVIDER_NAME, name)

    @property
    def span(self) -> OTelSpan:
        """OpenTelemetry's span."""
        return self._span

    def stop(self) -> None:
        """Ends it; the second time does nothing."""
        self._end_once(None)

    def fail(self, error: BaseException) -> None:
        """Ends it as failed."""
        self._end_once(error)

    def suspend(self) -> None:
        """Does nothing: it is not current."""

    def _end_once(self, error: BaseException | None) -> None:
        if not self._ended:
            self._ended = True
            self._end(error)
