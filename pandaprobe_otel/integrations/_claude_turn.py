"""One turn of Claude Code, read from the messages that its SDK hands on.

The calls of the model are made in another process. A message tells of each when it is over: it began when the
one before it, or the tools that it asked for, had ended.
"""

from time import time_ns
from typing import Any
from weakref import WeakValueDictionary

from claude_agent_sdk import (
    AssistantMessage,
    ResultMessage,
    StreamEvent,
    SystemMessage,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)
from opentelemetry.context import Context

from ..tracing.labels import Labels
from ..tracing.runs import Run, Step
from ..tracing.values import to_json
from ..wrappers import _genai
from ..wrappers._genai.parts import Error, InputMessage, OutputMessage, TextPart

_recorder = _genai.Recorder("pandaprobe_otel.integrations.claude_agent_sdk")

_Message = dict[str, Any]

# The model that Claude Code names where it speaks itself: of an API that has refused, or after a command.
_ITSELF = "<synthetic>"

# By the id of the call, which no other call has: Claude Code asks for tools of this process in tasks that
# know of no turn.
_running: WeakValueDictionary[str, Any] = WeakValueDictionary()


def context_of_tool(tool_use_id: str) -> Context | None:
    """For what happens inside a tool that is running."""
    tool = _running.get(tool_use_id)
    return None if tool is None else tool.context


class _Agent:
    """The agent, or one of its sub-agents: what was heard and said, and since when it is the model's turn."""

    def __init__(self, context: Context, asked: str, model: str | None = None) -> None:
        self.context = context
        self.model = model
        self.heard: list[_Message] = [{"role": "user", "content": asked}] if asked else []
        self.since_ns = time_ns()
        # The call of which the last message tells; the next may tell more of it.
        self.call: _Call | None = None
        # Tokens of the calls that are over.
        self.written = 0


class _Call:
    """One call of the model, which comes in one message for each block of its answer."""

    def __init__(self, agent: _Agent, message: AssistantMessage, tells: bool) -> None:
        self.id = message.message_id
        self._usage: dict[str, int] = {}
        self._tells = tells
        self._text: list[_Message] = []
        self._calls: list[_Message] = []
        self._step = Step(
            f"chat {agent.model}" if agent.model else "chat",
            kind="LLM",
            model=agent.model,
            context=agent.context,
            start_ns=agent.since_ns,
        )
        self._step.set_provider("anthropic")
        if tells:
            self._step.set_input({"messages": agent.heard})

    def take(self, message: AssistantMessage) -> None:
        for block in message.content:
            if isinstance(block, TextBlock):
                self._text.append({"type": "text", "text": block.text})
            elif isinstance(block, ThinkingBlock):
                self._text.append({"type": "reasoning", "content": block.thinking})
            elif isinstance(block, ToolUseBlock):
                self._calls.append({"id": block.id, "name": block.name, "arguments": block.input})
        if message.usage:
            self._usage = _usage(message.usage)
            self._step.set_token_usage(**self._usage)
        if message.error is not None:
            self._step.set_error(str(message.error))

    @property
    def written(self) -> int:
        """Tokens, as far as told."""
        return self._usage.get("completion_tokens", 0)

    def wrote(self, tokens: int) -> None:
        """Counts anew: a message has only what was written before its answer began, a token or so."""
        if tokens > self.written:
            self._usage["completion_tokens"] = tokens
            self._step.set_token_usage(**self._usage)

    def end(self, agent: _Agent) -> None:
        agent.written += self.written
        said = {"role": "assistant", "content": self._text, "tool_calls": self._calls}
        agent.heard = [*agent.heard, said]
        if self._tells:
            self._step.set_output({"messages": [said]})
        self._step.stop()


class Turn:
    """From a prompt to its result.

    Args:
        labels: What was said once of all turns.
        prompt: What is asked, where it is a text.
        session_id: Claude Code's session, where it is known.
        model: The model that is asked for.
    """

    def __init__(self, labels: Labels, prompt: object, session_id: str | None, model: str | None) -> None:
        self._run = Run(labels, session_id)
        with self._run.starting():
            self._invocation: Any = _recorder.handler().invoke_local_agent(
                agent_name="claude", request_model=model, conversation_id=session_id
            )
            self._invocation.suspend()
            context = self._run.entered(self._invocation.span, self._invocation.context)
        self._tells = bool(self._invocation.should_capture_content)
        asked = prompt if isinstance(prompt, str) else ""
        if asked and self._tells:
            self._invocation.input_messages = [InputMessage("user", [TextPart(asked)])]
        # By the tool call that started it; the agent itself by None.
        self._agents: dict[str | None, _Agent] = {None: _Agent(context, asked, model)}
        self._tools: dict[str, Any] = {}
        self._ended = False

    @property
    def context(self) -> Context:
        """For what happens inside the turn."""
        return self._agents[None].context

    @property
    def session_id(self) -> str | None:
        """Claude Code's session, as far as it has told."""
        return self._invocation.conversation_id

    def take(self, message: object) -> bool:
        """Reads a message; whether it was the last."""
        if isinstance(message, SystemMessage):
            self._join(message.data.get("session_id"))
        elif isinstance(message, AssistantMessage):
            self._join(message.session_id)
            self._answered(message)
        elif isinstance(message, UserMessage):
            self._heard(message)
        elif isinstance(message, StreamEvent):
            self._streamed(message)
        elif isinstance(message, ResultMessage):
            self._join(message.session_id)
            self._result(message)
        return self._ended

    def end(self, error: BaseException | None = None) -> None:
        """Ends what is open; failed where there is an error."""
        if self._ended:
            return
        self._ended = True
        for agent in self._agents.values():
            self._end_call(agent)
        for tool in self._tools.values():
            tool.stop()
        if error is None or isinstance(error, GeneratorExit):
            self._invocation.stop()
        else:
            self._invocation.fail(error)
        self._run.end()

    def _join(self, session_id: Any) -> None:
        if session_id and self._invocation.conversation_id != session_id:
            self._invocation.conversation_id = session_id
            agent = self._agents[None]
            agent.context = self._run.joined(session_id, self._invocation.span, agent.context)

    def _agent(self, tool_use_id: str | None) -> _Agent:
        if tool_use_id not in self._agents:
            tool: Any = self._tools.get(tool_use_id or "")
            asked = "" if tool is None else str(tool.arguments.get("prompt", ""))
            self._agents[tool_use_id] = _Agent(self.context if tool is None else tool.context, asked)
        return self._agents[tool_use_id]

    def _answered(self, message: AssistantMessage) -> None:
        agent = self._agent(message.parent_tool_use_id)
        if agent.call is not None and (message.message_id is None or message.message_id != agent.call.id):
            self._end_call(agent)
        if message.model != _ITSELF:
            agent.model = message.model
        elif message.error is None:
            return
        if agent.call is None:
            agent.call = _Call(agent, message, self._tells)
        agent.call.take(message)
        agent.since_ns = time_ns()
        for block in message.content:
            if isinstance(block, ToolUseBlock):
                self._begin_tool(block, agent)

    def _begin_tool(self, block: ToolUseBlock, agent: _Agent) -> None:
        tool: Any = _recorder.handler().tool(block.name, tool_type="function", context=agent.context)
        tool.suspend()
        tool.tool_call_id = block.id
        tool.arguments = block.input
        self._tools[block.id] = _running[block.id] = tool

    def _streamed(self, message: StreamEvent) -> None:
        usage = message.event.get("usage") if message.event.get("type") == "message_delta" else None
        agent = self._agents.get(message.parent_tool_use_id)
        if usage and agent is not None and agent.call is not None:
            agent.call.wrote(usage.get("output_tokens") or 0)

    def _heard(self, message: UserMessage) -> None:
        agent = self._agent(message.parent_tool_use_id)
        self._end_call(agent)
        for block in message.content if isinstance(message.content, list) else ():
            if isinstance(block, ToolResultBlock):
                self._end_tool(block, agent)
        agent.since_ns = time_ns()

    def _end_tool(self, block: ToolResultBlock, agent: _Agent) -> None:
        result = block.content if isinstance(block.content, str) else to_json(block.content)
        agent.heard = [*agent.heard, {"role": "tool", "tool_call_id": block.tool_use_id, "content": result}]
        tool = self._tools.pop(block.tool_use_id, None)
        if (inside := self._agents.pop(block.tool_use_id, None)) is not None:
            self._end_call(inside)
        if tool is None:
            return
        if self._tells:
            tool.tool_result = result
        if block.is_error:
            tool.fail(Error(message=result if self._tells else None, type="tool_error"))
        else:
            tool.stop()

    def _result(self, message: ResultMessage) -> None:
        if message.result and self._tells:
            self._invocation.output_messages = [OutputMessage("assistant", [TextPart(message.result)])]
        agent = self._agents[None]
        if message.usage and agent.call is not None:
            # Only the whole is told of what the calls have written, unless they are streamed.
            agent.call.wrote((message.usage.get("output_tokens") or 0) - agent.written)
        if message.is_error:
            told = message.errors or ([message.result] if message.result and self._tells else [])
            kind = message.subtype if message.subtype != "success" else message.terminal_reason or "_OTHER"
            self._invocation.fail(Error(message="; ".join(told) or None, type=kind))
        self.end()

    def _end_call(self, agent: _Agent) -> None:
        call, agent.call = agent.call, None
        if call is not None:
            call.end(agent)


def _usage(usage: dict[str, Any]) -> dict[str, int]:
    read, written = usage.get("cache_read_input_tokens") or 0, usage.get("cache_creation_input_tokens") or 0
    counts = {
        # Anthropic counts only what was not read from its cache, nor written to it.
        "prompt_tokens": (usage.get("input_tokens") or 0) + read + written,
        "completion_tokens": usage.get("output_tokens") or 0,
        "cache_read_tokens": read,
        "cache_creation_tokens": written,
    }
    return {name: count for name, count in counts.items() if count}
