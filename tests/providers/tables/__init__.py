"""The surfaces of each provider's SDK, and what of each is run: a module for each wrapper.

`test_matrix.py` runs every surface with every client and every outcome, and docs/providers.md has the same.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

WRAPPERS = ("openai", "anthropic", "gemini", "mistral", "bedrock", "litellm")

# What a caller asks for -> what is said to get it, to aimock and to `provider_api`.
OUTCOMES = {
    "answer": "Hello.",
    "tool call": "What weather is it?",
    "refusal": "refuse me",
    "429": "too many",
    "error midway": "fail midway",
    "lost": "hang up",
    "broken off": "Hello.",
    "cancelled": "stall",
}
# What the span of an answer that is made of numbers does not have.
NUMBERS = {
    "gen_ai.request.max_tokens": None,
    "gen_ai.request.temperature": None,
    "gen_ai.request.top_k": None,
    "gen_ai.request.seed": None,
    "gen_ai.request.stop_sequences": None,
    "pandaprobe.model_parameters": None,
    "gen_ai.response.finish_reasons": None,
    "gen_ai.usage.input_tokens": None,
    "gen_ai.usage.output_tokens": None,
}
OF_STREAMS = ("error midway", "broken off")


@dataclass(frozen=True, eq=False)
class Surface:
    """A way to call a model.

    Args:
        call: Of a client and a request; what it returns is an answer, a stream, a context manager, a raw
            response, or a coroutine of one of them.
        ask: The request for what is said.
        clients: Those of the table that it is called by.
        facts: Attributes of its span that are no other's of the table.
        leaves_out: Outcomes that it does not have -> why.
        refused: Why a refusal ends, in the conventions' words, where it is no other's of the table.
    """

    name: str
    call: Callable[[Any, dict[str, Any]], Any]
    ask: Callable[[str], dict[str, Any]]
    clients: tuple[str, ...]
    streams: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
    leaves_out: Mapping[str, str] = field(default_factory=dict)
    refused: str | None = None

    def __call__(self, client: Any, asked: dict[str, Any]) -> Any:
        return self.call(client, asked)

    def outcomes(self, asynchronous: bool) -> list[str]:
        """What can become of it."""
        given = [one for one in OUTCOMES if self.streams or one not in OF_STREAMS]
        return [one for one in given if one not in self.leaves_out and (asynchronous or one != "cancelled")]


@dataclass(frozen=True)
class Table:
    """All surfaces of an SDK.

    Args:
        clients: Their names -> what makes one for a URL.
        asynchronous: The names of those whose calls are awaited.
        facts: Attributes of every answer's span.
        refused: Why a refusal ends.
        passing: Keys of answers that differ from one call to the next.
        warns: What the SDK itself warns of, as Python's warning filters have it after their action.
    """

    wrap: Callable[[Any], Any]
    clients: Mapping[str, Callable[[str], AbstractAsyncContextManager[Any]]]
    asynchronous: frozenset[str]
    surfaces: tuple[Surface, ...]
    facts: Mapping[str, Any]
    refused: str = "stop"
    passing: frozenset[str] = frozenset()
    warns: tuple[str, ...] = ()


def method(path: str, name: str, **more: Any) -> Callable[[Any, dict[str, Any]], Any]:
    """Calls a method by its path from the client."""

    def call(client: Any, asked: dict[str, Any]) -> Any:
        found = client
        for step in path.split("."):
            found = found.with_options(timeout=9) if step == "with_options()" else getattr(found, step)
        return getattr(found, name)(**asked, **more)

    return call
