"""Which of CrewAI's events is which span."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from opentelemetry.context import Context
from opentelemetry.trace import Span

from ..tracing import runs
from ..tracing.values import to_json
from ..wrappers import _chat, _genai
from ..wrappers._chat_messages import output_messages
from ..wrappers._genai.parts import Error, InputMessage, OutputMessage, TextPart

_recorder = _genai.Recorder("pandaprobe_otel.integrations.crewai")

# What a step gives, in the events of its end; a flow that waits for a human gives its question.
_OUTPUTS = ("output", "result", "results", "retrieved_knowledge", "message")

# CrewAI's name -> GenAI's, where they differ.
_PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
}


class Step(Protocol):
    """A span that an event begins and another one ends."""

    is_turn: bool
    span: Span
    # For what happens inside.
    context: Context

    def converse(self, conversation: str | None) -> None:
        """Says which conversation it is of, as far as its kind of span has a place for that."""
        ...

    def note(self, event: Any) -> None:
        """Takes note of what happens on the way."""
        ...

    def end(self, event: Any) -> None:
        """Ends it as the event says."""
        ...

    def leave(self) -> None:
        """Ends it where no event says how."""
        ...


class _Invocation:
    """A span of GenAI's conventions."""

    is_turn = True

    def __init__(self, invocation: Any) -> None:
        # It has made itself current; the adapter does, so that it can undo it in whatever context.
        invocation.suspend()
        self.invocation = invocation
        self.span: Span = invocation.span
        self.context: Context = invocation.context
        self._tells: bool = invocation.should_capture_content

    def converse(self, conversation: str | None) -> None:
        if conversation is not None:
            self.invocation.conversation_id = conversation

    def note(self, event: Any) -> None:
        """Nothing."""

    def end(self, event: Any) -> None:
        failure = _failure(event)
        if failure is not None:
            self.invocation.fail(failure)
        else:
            self._answer(event)
            self.invocation.stop()

    def leave(self) -> None:
        self.invocation.stop()

    def _answer(self, event: Any) -> None:
        if self._tells:
            said = TextPart(_text(_output(event)))
            self.invocation.output_messages = [OutputMessage("assistant", [said])]

    def ask(self, text: str) -> None:
        """Writes what it is asked."""
        if text and self._tells:
            self.invocation.input_messages = [InputMessage("user", [TextPart(text)])]


class _ModelCall(_Invocation):
    is_turn = False

    def note(self, event: Any) -> None:
        if event.type in ("llm_stream_chunk", "llm_thinking_chunk"):
            self.invocation.record_stream_chunk()

    def _answer(self, event: Any) -> None:
        call = self.invocation
        call.response_id = event.response_id
        call.response_model_name = event.model
        call.finish_reasons = [event.finish_reason] if event.finish_reason else None
        usage: Mapping[str, Any] = event.usage or {}
        call.input_tokens = usage.get("prompt_tokens")
        call.output_tokens = usage.get("completion_tokens")
        call.cache_read_input_tokens = usage.get("cached_prompt_tokens") or None
        call.cache_write_input_tokens = usage.get("cache_creation_tokens") or None
        call.thinking_tokens = usage.get("reasoning_tokens") or None
        if self._tells:
            is_call = event.call_type.value == "tool_call"
            message = {"tool_calls": event.response} if is_call else {"content": _text(event.response)}
            call.output_messages = output_messages(
                [{"message": message, "finish_reason": event.finish_reason}]
            )


class _Tool(_Invocation):
    is_turn = False

    def _answer(self, event: Any) -> None:
        if self._tells:
            self.invocation.tool_result = _text(event.output)


class _Named:
    """A span that no convention has a name for."""

    is_turn = True

    def __init__(self, kind: str, name: str, asked: object) -> None:
        self._tells = _recorder.handler().should_capture_content()
        self._step = runs.Step(name, kind=kind)
        self.span, self.context = self._step.span, self._step.context
        if self._tells and asked is not None:
            self._step.set_input(asked)

    def converse(self, conversation: str | None) -> None:
        """Nothing: only crews and flows are given one."""

    def note(self, event: Any) -> None:
        """Nothing."""

    def end(self, event: Any) -> None:
        failure = _failure(event)
        if failure is not None:
            self._step.set_error(failure.message or "")
        elif self._tells:
            self._step.set_output(_output(event))
        self._step.stop()

    def leave(self) -> None:
        self._step.stop()


class _KnowledgeSearch(_Named):
    def end(self, event: Any) -> None:
        if self._tells:
            # A model has written it since the beginning.
            self._step.set_input(event.query)
        super().end(event)


class _Guardrail(_Named):
    def end(self, event: Any) -> None:
        if self._tells:
            # An answer that is refused is no failure of the guardrail.
            self._step.set_output({"success": event.success, "error": event.error})
        self._step.stop()


def _crew(crew: Any, event: Any) -> Step:
    step = _Invocation(_recorder.handler().workflow(event.crew_name or "crew"))
    step.ask(_text(event.inputs) if event.inputs else "\n".join(task.description for task in crew.tasks))
    return step


def _flow(flow: Any, event: Any) -> Step:
    step = _Invocation(_recorder.handler().workflow(event.flow_name))
    step.ask(_text(event.inputs) if event.inputs else "")
    return step


def _task(task: Any, event: Any) -> Step:
    return _Named("CHAIN", f"task {task.name}" if task.name else "task", task.description)


def _method(flow: Any, event: Any) -> Step:
    return _Named("CHAIN", event.method_name, event.params)


def _agent(agent: Any, event: Any) -> Step:
    step = _Invocation(_recorder.handler().invoke_local_agent(agent_name=event.agent.role))
    step.ask(event.task_prompt)
    return step


def _lite_agent(agent: Any, event: Any) -> Step:
    step = _Invocation(_recorder.handler().invoke_local_agent(agent_name=event.agent_info.get("role")))
    messages: Any = event.messages
    step.ask(messages if isinstance(messages, str) else _text(messages[-1].get("content")))
    return step


def _model_call(llm: Any, event: Any) -> Step:
    provider = str(getattr(llm, "provider", None) or "crewai")
    call = _recorder.handler().inference(
        _PROVIDERS.get(provider, provider), request_model=event.model and event.model.split("/")[-1]
    )
    step = _ModelCall(call)
    _chat.put_request(
        call,
        {
            **{name: getattr(event, name) for name in _chat.PARAMETERS if hasattr(event, name)},
            "messages": _as_list(event.messages),
            "tools": event.tools,
            "stop": event.stop_sequences,
        },
    )
    return step


def _tool(tool: Any, event: Any) -> Step:
    invocation = _recorder.handler().tool(event.tool_name, tool_type="function", agent_name=event.agent_role)
    if invocation.should_capture_content:
        invocation.arguments = event.tool_args
    return _Tool(invocation)


def _guardrail(source: Any, event: Any) -> Step:
    # One of words has its whole description for a name.
    name = event.guardrail_name if event.guardrail_type == "function" else event.guardrail_type
    return _Guardrail("OTHER", f"guardrail {name}" if name else "guardrail", event.guardrail)


def _memory_search(source: Any, event: Any) -> Step:
    return _Named("RETRIEVER", "memory", event.query)


def _knowledge_search(source: Any, event: Any) -> Step:
    return _KnowledgeSearch("RETRIEVER", "knowledge", None)


_STARTERS: dict[str, Callable[[Any, Any], Step]] = {
    "crew_kickoff_started": _crew,
    "flow_started": _flow,
    "method_execution_started": _method,
    "task_started": _task,
    "agent_execution_started": _agent,
    "lite_agent_execution_started": _lite_agent,
    "llm_call_started": _model_call,
    "tool_usage_started": _tool,
    "llm_guardrail_started": _guardrail,
    "knowledge_search_query_started": _knowledge_search,
    "memory_query_started": _memory_search,
}

# How events end that end a span; others have the same beginning (`flow_created`).
_ENDS = ("_completed", "_finished", "_failed", "_error", "_paused")


def starter_of(source: Any, event: Any) -> Callable[[Any, Any], Step] | None:
    """What begins the span of an event; None for an event that begins none."""
    return None if _is_inside(source, event) else _STARTERS.get(event.type)


def ends(source: Any, event: Any) -> bool:
    """Whether an event may end a span."""
    return event.type.endswith(_ENDS) and not _is_inside(source, event)


def _is_inside(source: Any, event: Any) -> bool:
    """Whether it is about CrewAI's inside: agents, and searches in memory, run as flows there."""
    if not event.type.startswith(("flow_", "method_execution_")):
        return False
    # A flow that a user has written as data is of CrewAI's own class too.
    is_internal: bool = getattr(source, "is_crewai_internal", True)
    return is_internal and type(source).__module__.startswith("crewai.")


def _failure(event: Any) -> Error | None:
    error = getattr(event, "error", None)
    # A guardrail that rejects an answer has worked.
    if error is None or event.type.endswith(("_completed", "_finished")):
        return None
    kind = type(error) if isinstance(error, BaseException) else getattr(event, "error_type", None)
    return Error(message=str(error), type=kind.__name__ if isinstance(kind, type) else "_OTHER")


def _output(event: Any) -> Any:
    told = (getattr(event, name, None) for name in _OUTPUTS)
    return next((_plain(value) for value in told if value is not None), None)


def _as_list(messages: Any) -> Any:
    return [{"role": "user", "content": messages}] if isinstance(messages, str) else messages


def _plain(value: Any) -> Any:
    return getattr(value, "raw", value)


def _text(value: Any) -> str:
    value = _plain(value)
    if value is None or isinstance(value, str):
        return value or ""
    return to_json(value)
