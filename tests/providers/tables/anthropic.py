"""The surfaces of the anthropic package."""

from contextlib import asynccontextmanager
from typing import Any

import anthropic

from pandaprobe_otel.wrappers import wrap_anthropic

from . import Surface, Table, method

MODEL = "claude-opus-4-8"
TOOL = {
    "name": "get_weather",
    "description": "The weather.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
BOTH = ("Anthropic", "AsyncAnthropic")
HAS_PARSE = hasattr(anthropic.resources.messages.Messages, "parse")


def message(prompt: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    tools = {"tools": [TOOL]} if "weather" in prompt else {}
    asked = {"model": MODEL, "max_tokens": 99, "system": "Be brief.", "stop_sequences": ["END"]}
    return {**asked, "messages": messages, **tools}


def _message(path: str, name: str, *, streams: bool = False, **more: Any) -> Surface:
    told = f"{path}.{name}" + (", stream=True" if "stream" in more else "")
    return Surface(told, method(path, name, **more), message, BOTH, streams)


TABLE = Table(
    wrap=wrap_anthropic,
    clients={},
    asynchronous=frozenset({"AsyncAnthropic"}),
    surfaces=(
        *[
            surface
            for path in ("messages", "beta.messages")
            for surface in (
                _message(path, "create"),
                _message(path, "create", stream=True, streams=True),
                _message(path, "stream", streams=True),
                *([_message(path, "parse")] if HAS_PARSE else []),
                _message(f"{path}.with_raw_response", "create"),
                _message(f"{path}.with_raw_response", "create", stream=True, streams=True),
                _message(f"{path}.with_streaming_response", "create"),
            )
        ],
        _message("with_options().messages", "create"),
    ),
    facts={
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.max_tokens": 99,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 7,
        "server.address": "127.0.0.1",
    },
    refused="refusal",
)


def _client(kind: str) -> Any:
    @asynccontextmanager
    async def make(url: str) -> Any:
        made = getattr(anthropic, kind)(base_url=url, api_key="none", max_retries=0)
        yield made
        closed = made.close()
        if closed is not None:
            await closed

    return make


TABLE.clients.update({kind: _client(kind) for kind in BOTH})
