# pyright: reportMissingTypeStubs=false
"""`OpenAIAgentsAdapter`: runs of the OpenAI Agents SDK become spans of the session that they belong to."""

import inspect
import sys
from collections.abc import Callable
from contextvars import ContextVar, Token
from dataclasses import dataclass
from functools import partial
from typing import Any, cast
from weakref import WeakKeyDictionary, WeakValueDictionary

from opentelemetry.context import Context, attach
from opentelemetry.util.genai.types import Error, InputMessage, OutputMessage, TextPart
from opentelemetry.util.genai.utils import object_to_any_value, tool_arguments_to_any_value

from .. import guard, runtime
from ..session.identity import put_back
from ..tracing.labels import Labels
from ..tracing.runs import Run, Step
from ..wrappers._genai import Recorder
from ._adapter import Adapter

try:
    from agents import Runner
    from agents.tracing import Span, Trace, TracingProcessor, add_trace_processor, get_current_trace
    from agents.tracing import span_data as kinds
    from wrapt import FunctionWrapper

    from ..wrappers.openai import OpenAIInstrumentor
except ImportError as error:
    raise ImportError(
        "OpenAIAgentsAdapter needs openai-agents and OpenTelemetry's instrumentation of openai: "
        "pip install 'pandaprobe-otel[openai-agents]'"
    ) from error

# OpenTelemetry's own instrumentation, which makes the same spans.
_OFFICIAL = "opentelemetry.instrumentation.genai.openai_agents"
_RUNS = ("run", "run_sync", "run_streamed")

# The SDK's session, its memory, of the run that is being started; its tracing does not tell.
_memory: ContextVar[str | None] = ContextVar("pandaprobe_agents_memory", default=None)


class OpenAIAgentsAdapter(Adapter):
    """Traces the OpenAI Agents SDK: runs, agents, tools, hand-offs, guardrails and model calls.

        with OpenAIAgentsAdapter():
            await Runner.run(agent, question, run_config=RunConfig(group_id="conversation-123"))

    The session is the run's `group_id`, or else the `session_id` of its memory (`session=`), unless
    `session_id` or a `session()` block names another. The SDK's tracing has to be on, for it tells what
    happens; it stays as it is, its own export to OpenAI included.
    """

    def _start(self) -> None:
        official: Any = getattr(sys.modules.get(_OFFICIAL), "OpenAIAgentsInstrumentor", None)
        if official is not None and official().is_instrumented_by_opentelemetry:
            official().uninstrument()
        self._processor = _Processor(self._labels)
        add_trace_processor(self._processor)
        self._originals = {name: vars(Runner)[name] for name in _RUNS}
        for name, original in self._originals.items():
            setattr(Runner, name, FunctionWrapper(original, _with_memory))
        clients = OpenAIInstrumentor()
        self._clients = None if clients.is_instrumented_by_opentelemetry else clients
        if self._clients is not None:
            self._clients.instrument(skip_dep_check=True)

    def _stop(self) -> None:
        # The SDK has no way to take one processor out.
        self._processor.is_on = False
        for name, original in self._originals.items():
            setattr(Runner, name, original)
        if self._clients is not None:
            self._clients.uninstrument()


def _with_memory(wrapped: Callable[..., Any], _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    id = getattr(kwargs.get("session"), "session_id", None)

    async def run() -> Any:
        token = _memory.set(id)
        try:
            return await wrapped(*args, **kwargs)
        finally:
            put_back(cast(Any, token))

    if inspect.iscoroutinefunction(wrapped):
        return run()
    token = _memory.set(id)
    try:
        return wrapped(*args, **kwargs)
    finally:
        _memory.reset(token)


@dataclass
class _Open:
    """A span of ours that is current until the SDK's ends.

    Args:
        run: Of a whole run; None for a step of one.
        handled: The exception that was being handled where it began.
    """

    invocation: Any
    token: Token[Context]
    run: Run | None
    handled: BaseException | None


class _Processor(TracingProcessor):
    """Makes spans of what the SDK's tracing tells."""

    def __init__(self, labels: Labels) -> None:
        self.is_on = True
        self._labels = labels
        self._recorder = Recorder("pandaprobe_otel.integrations.openai_agents")
        # By the SDK's own objects, which are gone when nobody ends them.
        self._open: WeakKeyDictionary[Any, _Open] = WeakKeyDictionary()
        self._runs: WeakValueDictionary[str, _Open] = WeakValueDictionary()

    @guard.never_raises
    def on_trace_start(self, trace: Trace) -> None:
        """Starts the span of a run, or of what the user has put several runs into."""
        if self.is_on and runtime.enabled():
            conversation = _conversation(trace)
            genai = self._recorder.handler()
            start = partial(genai.workflow, trace.name, conversation_id=conversation)
            self._runs[trace.trace_id] = self._begin(trace, start, Run(self._labels, conversation))

    @guard.never_raises
    def on_trace_end(self, trace: Trace) -> None:
        """Ends the span of a run."""
        self._runs.pop(trace.trace_id, None)
        self._end(trace, None)

    @guard.never_raises
    def on_span_start(self, span: Span[Any]) -> None:
        """Starts the span of an agent, a tool, a hand-off, a guardrail, or of something of the user's."""
        if not (self.is_on and runtime.enabled()):
            return
        run, conversation = None, None
        if span.trace_id not in self._runs:
            # What goes on after a human's approval is told without the start of the run.
            conversation = _conversation(get_current_trace())
            run = Run(self._labels, conversation)
        start = self._starter(span.span_data, conversation)
        if start is not None:
            self._begin(span, start, run)

    def _starter(self, data: Any, conversation: str | None) -> Callable[[], Any] | None:
        """What starts the span of one kind; model calls make their own, the rest is the SDK's bookkeeping."""
        genai = self._recorder.handler()
        match data:
            case kinds.AgentSpanData():
                return partial(genai.invoke_local_agent, agent_name=data.name, conversation_id=conversation)
            case kinds.FunctionSpanData():
                return partial(genai.tool, data.name, tool_type="function")
            case kinds.HandoffSpanData():
                return partial(Step, "handoff", kind="OTHER")
            case kinds.GuardrailSpanData():
                return partial(Step, f"guardrail {data.name}", kind="OTHER")
            case kinds.CustomSpanData():
                return partial(Step, data.name, kind="OTHER")
            case _:
                return None

    @guard.never_raises
    def on_span_end(self, span: Span[Any]) -> None:
        """Ends the span of a step, with what came out of it."""
        data, opened = span.span_data, self._open.get(span)
        if opened is not None and isinstance(data, kinds.HandoffSpanData):
            # At the start it is not known to whom.
            opened.invocation.span.update_name(f"handoff to {data.to_agent}")
        if self._recorder.handler().should_capture_content():
            if opened is not None:
                _add_content(opened.invocation, data)
            elif (run := self._runs.get(span.trace_id)) is not None:
                _add_messages(run.invocation, data)
        self._end(span, span.error)

    def shutdown(self, timeout: float | None = None) -> None:
        """Does nothing: spans end with the runs that they are of."""

    def force_flush(self) -> None:
        """Does nothing: nothing is held."""

    def _begin(self, key: object, start: Callable[[], Any], run: Run | None) -> _Open:
        if run is None:
            invocation = start()
            context = invocation.context
        else:
            with run.starting():
                invocation = start()
                context = run.entered(invocation.span, invocation.context)
        # Its own way of being current would log an error where another task ends it.
        invocation.suspend()
        opened = self._open[key] = _Open(invocation, attach(context), run, sys.exc_info()[1])
        return opened

    def _end(self, key: object, told: Any) -> None:
        opened = self._open.pop(key, None)
        if opened is None:
            return
        # The SDK ends its spans while an exception passes, and tells of few.
        error = sys.exc_info()[1]
        if error is opened.handled or isinstance(error, GeneratorExit):
            error = None
        if error is not None:
            opened.invocation.fail(error)
        elif told is not None and not isinstance(opened.invocation, Step):
            opened.invocation.fail(Error(type="_OTHER", message=str(told.get("message"))))
        else:
            opened.invocation.stop()
        if opened.run is not None:
            opened.run.end()
        put_back(opened.token)


def _conversation(trace: Trace | None) -> str | None:
    return getattr(trace, "group_id", None) or _memory.get()


def _add_content(invocation: Any, data: Any) -> None:
    match data:
        case kinds.FunctionSpanData():
            invocation.arguments = tool_arguments_to_any_value(data.input)
            invocation.tool_result = object_to_any_value(data.output)
        case kinds.HandoffSpanData():
            invocation.set_output({"from": data.from_agent, "to": data.to_agent})
        case kinds.GuardrailSpanData():
            invocation.set_output({"triggered": data.triggered})
        case kinds.CustomSpanData():
            invocation.set_output(data.data)
        case _:
            pass


def _add_messages(run: Any, data: Any) -> None:
    """What the user asked goes into the run, what the model said last comes out of it."""
    match data:
        case kinds.GenerationSpanData():
            asked, said = _last(data.input, "user"), _last(data.output, "assistant")
        case kinds.ResponseSpanData():
            asked = data.input if isinstance(data.input, str) else _last(data.input, "user")
            said = getattr(data.response, "output_text", None)
        case _:
            return
    if asked and not run.input_messages:
        run.input_messages = [InputMessage(role="user", parts=[TextPart(asked)])]
    if said:
        run.output_messages = [OutputMessage(role="assistant", parts=[TextPart(said)], finish_reason="stop")]


def _last(items: Any, role: str) -> str | None:
    """The text of the last message of a role; a streamed answer has its messages in `output`."""
    messages: list[Any] = []
    for item in items or ():
        answer = item.get("output")
        messages += answer if isinstance(answer, list) else [item]
    texts = [_text(message.get("content")) for message in messages if message.get("role") == role]
    return next(filter(None, reversed(texts)), None)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or ())
