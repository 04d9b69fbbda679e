# pyright: reportMissingTypeStubs=false, reportPrivateUsage=false
"""OpenTelemetry's instrumentation of LangChain, as a callback handler that users pass.

It knows how a run becomes a span, and where LangChain and LangGraph have to make the context of a run
current; but it is for the whole process, and has no handler to pass. This is the one module that touches
undocumented names of it, listed in `UNDOCUMENTED`, which a test resolves against the installed version.
"""

import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, cast
from uuid import UUID
from weakref import WeakKeyDictionary

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, convert_to_openai_messages
from langchain_core.outputs import LLMResult
from opentelemetry.instrumentation.genai.langchain import LangChainInstrumentor
from opentelemetry.instrumentation.genai.langchain._execution_context import _ExecutionContext
from opentelemetry.instrumentation.genai.langchain.callback_handler import (
    OpenTelemetryLangChainCallbackHandler,
    _conversation_id,
)
from opentelemetry.instrumentation.genai.langchain.invocation_manager import _InvocationManager
from opentelemetry.util.genai.invocation import LocalAgentInvocation, WorkflowInvocation
from opentelemetry.util.genai.stream import AbandonedStreamError

from .. import guard, runtime
from ..tracing.labels import Labels
from ..tracing.runs import Run, Step
from ..tracing.values import to_json
from ..wrappers._genai import Recorder

_OFFICIAL = "opentelemetry.instrumentation.genai.langchain"

# Module -> names.
UNDOCUMENTED = {
    _OFFICIAL: (
        "LangChainInstrumentor._callback_handler",
        "LangChainInstrumentor._instrument_agent_entry_points",
    ),
    f"{_OFFICIAL}.callback_handler": (
        "OpenTelemetryLangChainCallbackHandler.on_chain_start",
        "_conversation_id",
    ),
    f"{_OFFICIAL}._execution_context": ("_ExecutionContext.instrument",),
    f"{_OFFICIAL}.invocation_manager": (
        "_InvocationManager.add_invocation_state",
        "_InvocationManager.delete_invocation_state",
        "_InvocationManager.get_invocation",
        "_InvocationManager.get_parent_context",
    ),
    "opentelemetry.util.genai.invocation": ("LocalAgentInvocation._finish",),
}

# What LangGraph tags the run of a node with; the number of the step follows.
_NODE_TAG = "graph:step:"


@dataclass
class _Outermost:
    """A run that was started by the user's code, not by another run."""

    run: Run
    question: str | None = None


class RunSpans(OpenTelemetryLangChainCallbackHandler):
    """Makes spans of the runs that it is passed to, any number of them at a time."""

    # LangChain would otherwise call it from coroutines in other threads.
    run_inline = True

    def __init__(self, labels: Labels) -> None:
        self._recorder = Recorder("pandaprobe_otel.integrations.langchain")
        # Known when the first run starts: a handler may be made before `init()`.
        super().__init__(cast(Any, None), invocation_manager=_open_runs())
        self._labels = labels
        self._outermost: WeakKeyDictionary[Any, _Outermost] = WeakKeyDictionary()

    @guard.never_raises
    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Starts the span of a graph, an agent, a node, or an outermost chain; other chains have none."""
        metadata = metadata or {}
        if parent_run_id is None and metadata.get("ls_integration") == "deepagents":
            # A switch of the official instrumentation, which takes only `create_agent` for an agent.
            metadata = {**metadata, "otel_agent_span": True}
        ids: dict[str, Any] = {"run_id": run_id, "parent_run_id": parent_run_id}
        with self._starting(metadata, **ids) as is_new:
            if is_new:
                inputs = _answer(inputs)
                super().on_chain_start(serialized, inputs, **ids, tags=tags, metadata=metadata, **kwargs)
                self._start_node(kwargs.get("name"), tags or [], metadata, **ids)

    def _start_node(
        self, name: str | None, tags: list[str], metadata: dict[str, Any], run_id: UUID, parent_run_id: UUID
    ) -> None:
        runs = self._invocation_manager
        is_node = name == metadata.get("langgraph_node") and any(tag.startswith(_NODE_TAG) for tag in tags)
        # The nodes of an agent are the framework's own; its model and tool calls say what it does.
        if (
            is_node
            and name is not None
            and runs.get_invocation(run_id) is None
            and not isinstance(runs.get_invocation(parent_run_id), LocalAgentInvocation)
        ):
            # The GenAI conventions have no operation for it.
            node: Any = Step(name, kind="CHAIN", context=runs.get_parent_context(parent_run_id))
            runs.add_invocation_state(run_id, parent_run_id, node)

    @guard.never_raises
    def on_chain_end(
        self, outputs: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        """Ends the span of a chain."""
        invocation: Any = self._invocation_manager.get_invocation(run_id)
        if isinstance(invocation, Step):
            if self._telemetry_handler.should_capture_content():
                invocation.set_output(_readable(outputs))
            invocation.stop()
        question = self._end_session(invocation)
        if question is not None:
            outputs = {"messages": [AIMessage(question)]}
        super().on_chain_end(outputs, run_id=run_id, parent_run_id=parent_run_id, **kwargs)

    @guard.never_raises
    def on_chain_error(
        self, error: BaseException, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        """Ends the span of a chain that raised; also one that only hands over by raising."""
        self._raised(error, run_id)

    @guard.never_raises
    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Starts the span of a model call."""
        # Without a name of the model, the official instrumentation would leave the call out.
        metadata = {"ls_model_name": serialized.get("name") or serialized["id"][-1], **(metadata or {})}
        ids: dict[str, Any] = {"run_id": run_id, "parent_run_id": parent_run_id}
        with self._starting(metadata, **ids) as is_new:
            if is_new:
                super().on_chat_model_start(serialized, messages, **ids, metadata=metadata, **kwargs)

    @guard.never_raises
    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        """Notes when a piece of a model's answer came."""
        super().on_llm_new_token(token, **kwargs)

    @guard.never_raises
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Ends the span of a model call."""
        self._end_session(self._invocation_manager.get_invocation(run_id))
        super().on_llm_end(response, run_id=run_id, **kwargs)

    @guard.never_raises
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Ends the span of a model call that failed."""
        self._raised(error, run_id)

    @guard.never_raises
    def on_tool_start(
        self,
        serialized: dict[str, Any] | None,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Starts the span of a tool call."""
        ids: dict[str, Any] = {"run_id": run_id, "parent_run_id": parent_run_id}
        with self._starting(metadata, **ids) as is_new:
            if is_new:
                super().on_tool_start(serialized, input_str, **ids, metadata=metadata, **kwargs)

    @guard.never_raises
    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Ends the span of a tool call."""
        self._end_session(self._invocation_manager.get_invocation(run_id))
        super().on_tool_end(output, run_id=run_id, **kwargs)

    @guard.never_raises
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Ends the span of a tool call that raised; also one that only hands over by raising."""
        self._raised(error, run_id)

    @guard.never_raises
    def on_retriever_start(
        self,
        serialized: dict[str, Any],
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Starts the span of a search."""
        ids: dict[str, Any] = {"run_id": run_id, "parent_run_id": parent_run_id}
        with self._starting(metadata, **ids) as is_new:
            if is_new:
                super().on_retriever_start(serialized, query, **ids, metadata=metadata, **kwargs)

    @guard.never_raises
    def on_retriever_end(self, documents: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Ends the span of a search."""
        self._end_session(self._invocation_manager.get_invocation(run_id))
        super().on_retriever_end(documents, run_id=run_id, **kwargs)

    @guard.never_raises
    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Ends the span of a search that failed."""
        self._raised(error, run_id)

    @guard.never_raises
    def on_interrupt(self, event: Any) -> None:
        """Notes what a graph that stops for a human asks: that is what comes out of the run."""
        invocation: Any = event.run_id and self._invocation_manager.get_invocation(event.run_id)
        if invocation is not None:
            invocation.span.add_event("langgraph.interrupt")
            if invocation in self._outermost:
                self._outermost[invocation].question = "\n".join(
                    _text(each.value) for each in event.interrupts
                )

    @guard.never_raises
    def on_resume(self, event: Any) -> None:
        """Notes that a run goes on where an earlier one stopped."""
        invocation: Any = event.run_id and self._invocation_manager.get_invocation(event.run_id)
        if invocation is not None:
            invocation.span.add_event("langgraph.resume")

    @contextmanager
    def _starting(
        self, metadata: dict[str, Any] | None, run_id: UUID, parent_run_id: UUID | None
    ) -> Generator[bool]:
        """A block that starts a run's span, unless another handler has; an outermost run has a session."""
        runs = self._invocation_manager
        if not runtime.enabled() or runs.get_invocation(run_id) is not None:
            yield False
            return
        self._telemetry_handler = self._recorder.handler()
        if runs.get_parent_context(parent_run_id) is not None:
            yield True
            _forgive(runs.get_invocation(run_id))
        else:
            run = Run(self._labels, _conversation_id(metadata))
            with run.starting():
                yield True
                invocation: Any = runs.get_invocation(run_id)
                if invocation is not None:
                    _forgive(invocation)
                    self._outermost[invocation] = _Outermost(run)
                    is_turn = isinstance(invocation, (WorkflowInvocation, LocalAgentInvocation))
                    invocation._span_context = run.entered(
                        invocation.span, invocation.context, is_turn=is_turn
                    )

    def _raised(self, error: BaseException, run_id: UUID) -> None:
        invocation: Any = self._invocation_manager.get_invocation(run_id)
        if invocation is not None:
            invocation.fail(error)
            self._end_session(invocation)
        self._invocation_manager.delete_invocation_state(run_id)

    def _end_session(self, invocation: Any) -> str | None:
        """Ends the session of an outermost run; gives what the run has stopped to ask."""
        outermost = None if invocation is None else self._outermost.pop(invocation, None)
        if outermost is None:
            return None
        outermost.run.end()
        return outermost.question


@cache
def _open_runs() -> _InvocationManager:
    """The runs that are open, of all handlers; the places where contexts become current look them up."""
    runs = _InvocationManager()
    official: Any = LangChainInstrumentor()._callback_handler
    if official is not None:
        # Its layers are beneath ours, and the lowest one makes contexts current.
        runs._invocations = official._invocation_manager._invocations

    def failed(error: BaseException, *, run_id: UUID) -> None:
        invocation: Any = runs.get_invocation(run_id)
        if invocation is not None:
            invocation.fail(error)

    def no_handler_of_the_process(_: object) -> None: ...

    _ExecutionContext(runs, failed, failed, no_handler_of_the_process).instrument()
    LangChainInstrumentor._instrument_agent_entry_points()
    return runs


def _forgive(invocation: Any) -> None:
    """Makes an invocation end well where what is raised is no failure; not only callbacks end it."""
    if invocation is None:
        return
    fail = invocation.fail

    def fail_or_stop(error: BaseException) -> None:
        if _is_no_failure(error):
            invocation.stop()
        else:
            fail(error)

    invocation.fail = fail_or_stop


def _is_no_failure(error: BaseException) -> bool:
    """Whether a consumer has left its stream, or LangGraph stops for a human or goes on in another graph."""
    if isinstance(error, (GeneratorExit, AbandonedStreamError)):
        return True
    errors: Any = sys.modules.get("langgraph.errors")
    return errors is not None and isinstance(error, errors.GraphBubbleUp)


def _answer(inputs: Any) -> Any:
    """What a human answers to an interrupted graph, as a message; other inputs as they are."""
    types: Any = sys.modules.get("langgraph.types")
    if types is not None and isinstance(inputs, types.Command) and inputs.resume is not None:
        return {"messages": [HumanMessage(_text(inputs.resume))]}
    return inputs


def _text(value: object) -> str:
    return value if isinstance(value, str) else to_json(value)


def _readable(outputs: Any) -> Any:
    """Outputs that are messages and nothing else, as PandaProbe writes messages."""
    if not isinstance(outputs, dict) or list(cast("dict[Any, Any]", outputs)) != ["messages"]:
        return cast(Any, outputs)
    given: Any = cast(Any, outputs)["messages"]
    messages = cast("list[Any]", given) if isinstance(given, list) else [given]
    with suppress(ValueError, TypeError, NotImplementedError):
        return {"messages": cast(Any, convert_to_openai_messages(messages))}
    return cast(Any, outputs)
