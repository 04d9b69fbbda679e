"""The surfaces of the openai package."""

from contextlib import asynccontextmanager
from typing import Any

import openai

from pandaprobe_otel.wrappers import wrap_openai

from . import NUMBERS, Surface, Table, method

MODEL = "gpt-5.4-nano"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": False}
FUNCTION = {"name": "get_weather", "description": "The weather.", "parameters": SCHEMA, "strict": True}
USAGE = {"stream_options": {"include_usage": True}}
BOTH = ("OpenAI", "AsyncOpenAI")
AZURE = ("AzureOpenAI", "AsyncAzureOpenAI")


def chat(prompt: str) -> dict[str, Any]:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}]
    tools = {"tools": [{"type": "function", "function": FUNCTION}]} if "weather" in prompt else {}
    return {"model": MODEL, "messages": messages, "max_completion_tokens": 99, **tools}


def response(prompt: str) -> dict[str, Any]:
    tools = {"tools": [{"type": "function", **FUNCTION}]} if "weather" in prompt else {}
    return {"model": MODEL, "instructions": "Be brief.", "input": prompt, "max_output_tokens": 99, **tools}


def text(prompt: str) -> dict[str, Any]:
    return {"model": "gpt-3.5-turbo-instruct", "prompt": prompt, "max_tokens": 99}


def embedding(prompt: str) -> dict[str, Any]:
    return {"model": "text-embedding-3-small", "input": prompt}


def _chat(path: str, called: str, *, streams: bool = False, **more: Any) -> Surface:
    name = f"{path}.{called}" + (", stream=True" if "stream" in more else "")
    return Surface(name, method(path, called, **more, **(USAGE if streams else {})), chat, BOTH, streams)


def _response(path: str, called: str, *, streams: bool = False, **more: Any) -> Surface:
    name = f"{path}.{called}" + (", stream=True" if "stream" in more else "")
    return Surface(name, method(path, called, **more), response, BOTH, streams)


def _azure(called: str, *, streams: bool = False, **more: Any) -> Surface:
    name = f"Azure: chat.completions.{called}" + (", stream=True" if "stream" in more else "")
    call = method("chat.completions", called, **more, **(USAGE if streams else {}))
    return Surface(name, call, chat, AZURE, streams, {"gen_ai.provider.name": "azure.ai.openai"})


_TEXT_ONLY = dict.fromkeys(("tool call", "refusal"), "it gives text and nothing else")
_NO_ANSWER = dict.fromkeys(("tool call", "refusal"), "it gives numbers")

SURFACES = (
    _chat("chat.completions", "create"),
    _chat("chat.completions", "create", stream=True, streams=True),
    _chat("chat.completions", "parse"),
    _chat("chat.completions", "stream", streams=True),
    _chat("beta.chat.completions", "create"),
    _chat("beta.chat.completions", "parse"),
    _chat("chat.completions.with_raw_response", "create"),
    _chat("chat.completions.with_raw_response", "create", stream=True, streams=True),
    _chat("chat.completions.with_streaming_response", "create"),
    _chat("with_options().chat.completions", "create"),
    _azure("create"),
    _azure("create", stream=True, streams=True),
    _response("responses", "create"),
    _response("responses", "create", stream=True, streams=True),
    _response("responses", "parse"),
    _response("responses", "stream", streams=True),
    _response("responses.with_raw_response", "create"),
    _response("responses.with_raw_response", "create", stream=True, streams=True),
    _response("responses.with_streaming_response", "create"),
    *[
        Surface(
            f"completions.create{', stream=True' if streams else ''}",
            method("completions", "create", **({"stream": True, **USAGE} if streams else {})),
            text,
            BOTH,
            streams,
            {"gen_ai.operation.name": "text_completion", "gen_ai.request.model": "gpt-3.5-turbo-instruct"},
            _TEXT_ONLY,
        )
        for streams in (False, True)
    ],
    Surface(
        "embeddings.create",
        method("embeddings", "create"),
        embedding,
        BOTH,
        facts={
            "gen_ai.operation.name": "embeddings",
            "gen_ai.request.model": "text-embedding-3-small",
            "gen_ai.embeddings.dimension.count": 2,
            **NUMBERS,
            "gen_ai.usage.input_tokens": 3,
        },
        leaves_out=_NO_ANSWER,
    ),
)


def _client(kind: str) -> Any:
    @asynccontextmanager
    async def make(url: str) -> Any:
        place = (
            {"azure_endpoint": url, "api_version": "2024-10-21"}
            if "Azure" in kind
            else {"base_url": f"{url}/v1"}
        )
        made = getattr(openai, kind)(api_key="none", max_retries=0, **place)
        yield made
        closed = made.close()
        if closed is not None:
            await closed

    return make


TABLE = Table(
    wrap=wrap_openai,
    clients={kind: _client(kind) for kind in (*BOTH, *AZURE)},
    asynchronous=frozenset({"AsyncOpenAI", "AsyncAzureOpenAI"}),
    surfaces=SURFACES,
    facts={
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.max_tokens": 99,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 7,
        "server.address": "127.0.0.1",
    },
)
