"""`ClaudeAgentSDKAdapter`: what Claude Code does for a program becomes spans of its session."""

from collections import deque
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry.context import Context, attach

from .. import guard, runtime
from ..session.decorating import decorate
from ..session.identity import put_back
from ..tracing.labels import Labels
from ..wrappers import _calls
from ._adapter import Adapter

try:
    from claude_agent_sdk import AssistantMessage, ClaudeSDKClient
    from claude_agent_sdk._internal.client import InternalClient
    from claude_agent_sdk._internal.query import Query

    from ._claude_turn import Turn, context_of_tool
except ImportError as error:
    raise ImportError(
        "ClaudeAgentSDKAdapter needs claude-agent-sdk: pip install 'pandaprobe-otel[claude-agent-sdk]'"
    ) from error

# Not documented; a test resolves them. `query` is imported by its users before it could be wrapped.
UNDOCUMENTED = {
    "claude_agent_sdk._internal.client": ("InternalClient.process_query",),
    "claude_agent_sdk._internal.query": ("Query._handle_sdk_mcp_request",),
}


class ClaudeAgentSDKAdapter(Adapter):
    """Traces `query` and `ClaudeSDKClient`: each turn with its model calls, tools and sub-agents.

        ClaudeAgentSDKAdapter().instrument()
        async for message in query(prompt="What is in this folder?"):
            ...

    Claude Code's session is the session, unless `session_id` or a `session()` block names another.
    """

    def _start(self) -> None:
        self._turns: WeakKeyDictionary[Any, _Turns] = WeakKeyDictionary()
        self._wrapped = (
            (InternalClient, "process_query", self._query),
            (ClaudeSDKClient, "query", self._ask),
            (ClaudeSDKClient, "receive_messages", self._receive),
            (ClaudeSDKClient, "disconnect", self._disconnect),
            (Query, "_handle_sdk_mcp_request", _serve),
        )
        for owner, name, traced in self._wrapped:
            _calls.wrap_method(owner, name, traced)

    def _stop(self) -> None:
        for owner, name, _ in self._wrapped:
            _calls.unwrap_method(owner, name)

    def _query(self, wrapped: Callable[..., Any], client: Any, args: Any, kwargs: Any) -> Any:
        if not runtime.enabled():
            return wrapped(*args, **kwargs)
        # The SDK's own `query` names both.
        turns = _Turns(self._labels, kwargs.get("options"))
        turns.ask(kwargs.get("prompt"))
        return decorate(wrapped, lambda args, kwargs: turns)(*args, **kwargs)

    async def _ask(self, wrapped: Callable[..., Any], client: Any, args: Any, kwargs: Any) -> Any:
        if runtime.enabled():
            self._turns_of(client).ask(args[0] if args else kwargs.get("prompt"))
        return await wrapped(*args, **kwargs)

    def _receive(self, wrapped: Callable[..., Any], client: Any, args: Any, kwargs: Any) -> Any:
        if not runtime.enabled():
            return wrapped(*args, **kwargs)
        return decorate(wrapped, lambda args, kwargs: _Reading(self._turns_of(client)))(*args, **kwargs)

    async def _disconnect(self, wrapped: Callable[..., Any], client: Any, args: Any, kwargs: Any) -> Any:
        turns = self._turns.pop(client, None)
        try:
            return await wrapped(*args, **kwargs)
        finally:
            if turns is not None:
                turns.end(None)

    def _turns_of(self, client: Any) -> "_Turns":
        if client not in self._turns:
            self._turns[client] = _Turns(self._labels, getattr(client, "options", None))
        return self._turns[client]


async def _serve(wrapped: Callable[..., Any], query: Any, args: Any, kwargs: Any) -> Any:
    """A tool of this process runs in the context of whoever asks for it: inside its span."""
    context = _asked_in(*args)
    if context is None:
        return await wrapped(*args, **kwargs)
    token = attach(context)
    try:
        return await wrapped(*args, **kwargs)
    finally:
        put_back(token)


@guard.never_raises
def _asked_in(server: str, message: Any) -> Context | None:
    asked: dict[str, Any] = message.get("params") or {}
    told: dict[str, Any] = asked.get("_meta") or {}
    return context_of_tool(told.get("claudecode/toolUseId", ""))


class _Turns:
    """What is asked of one process of Claude Code, one turn after the other; a block that reads `query`."""

    def __init__(self, labels: Labels, options: Any) -> None:
        self._labels = labels
        named = getattr(options, "session_id", None) or getattr(options, "resume", None)
        self._session_id: str | None = named
        self._model: str | None = getattr(options, "model", None)
        self._turn: Turn | None = None
        # Prompts that came while another was being answered.
        self._waiting: deque[object] = deque()

    @guard.never_raises
    def ask(self, prompt: object) -> None:
        """Begins a turn, after the one that is under way."""
        if self._turn is None:
            self._turn = Turn(self._labels, prompt, self._session_id, self._model)
        else:
            self._waiting.append(prompt)

    @guard.never_raises
    def take(self, message: object) -> None:
        """Reads a message."""
        if self._turn is None and isinstance(message, AssistantMessage):
            # Prompts that come from an iterable, and what Claude Code begins by itself.
            self.ask(None)
        if self._turn is not None and self._turn.take(message):
            self._session_id = self._turn.session_id
            self._turn = None
            if self._waiting:
                self.ask(self._waiting.popleft())

    @guard.never_raises
    def end(self, error: BaseException | None) -> None:
        """Ends the turn that is under way."""
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.end(error)

    def __enter__(self) -> None:
        if self._turn is not None:
            # It is taken off with the step of the generator.
            attach(self._turn.context)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object, /) -> None:
        self.end(error)

    def returned(self, value: Any) -> None:
        """Nothing."""

    def yielded(self, item: Any) -> None:
        """Reads a message."""
        self.take(item)


class _Reading:
    """A block that reads what a client receives; the turn goes on after it."""

    def __init__(self, turns: _Turns) -> None:
        self._turns = turns

    def __enter__(self) -> None:
        """Nothing."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object, /) -> None:
        if error is not None and not isinstance(error, GeneratorExit):
            self._turns.end(error)

    def returned(self, value: Any) -> None:
        """Nothing."""

    def yielded(self, item: Any) -> None:
        """Reads a message."""
        self._turns.take(item)
