"""The functions of litellm."""

import json
import os
from contextlib import asynccontextmanager
from typing import Any

# Else it fetches prices from GitHub as it is imported.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm

from pandaprobe_otel.wrappers import unwrap, wrap_litellm

from . import Surface, Table

MODEL = "openai/gpt-4o"
FUNCTION = {"name": "get_weather", "description": "The weather.", "parameters": {"type": "object"}}
CHAT_PARAMETERS = {"temperature": 0.5, "max_tokens": 99, "seed": 3, "stop": ["END"]}
CHAT = {"gen_ai.request.seed": 3, "gen_ai.request.stop_sequences": ("END",)}
NO_REFUSAL = {"refusal": "LiteLLM leaves it out of its streams"}
USAGE = {"stream_options": {"include_usage": True}}


class Module:
    """litellm's functions, asked for at a URL; without tracing unless `wrap` says so."""

    def __init__(self, url: str) -> None:
        self.server = {"api_base": f"{url}/v1", "api_key": "none", "max_retries": 0}
        self.traced = False

    def __getattr__(self, name: str) -> Any:
        if not self.traced:
            unwrap(litellm)
        return getattr(litellm, name)


def wrap(module: Module) -> Module:
    wrap_litellm()
    module.traced = True
    return module


def chat(prompt: str) -> dict[str, Any]:
    tools = {"tools": [{"type": "function", "function": FUNCTION}]} if "weather" in prompt else {}
    return {"model": MODEL, "messages": [{"role": "user", "content": prompt}], **tools, **CHAT_PARAMETERS}


def response(prompt: str) -> dict[str, Any]:
    tools = {"tools": [{"type": "function", **FUNCTION}]} if "weather" in prompt else {}
    return {"model": MODEL, "input": prompt, "temperature": 0.5, "max_output_tokens": 99, **tools}


def _function(name: str, ask: Any, *, streams: bool = False) -> Surface:
    more = {"stream": True, **(USAGE if ask is chat else {})} if streams else {}

    def call(module: Module, asked: dict[str, Any]) -> Any:
        answer = getattr(module, name)(**asked, **module.server, **more)
        # Its streams have the methods of both kinds, but are of one.
        return (one for one in answer) if streams and name == "completion" else answer

    told = f"{name}{', stream=True' if streams else ''}"
    facts, leaves_out = (CHAT, NO_REFUSAL if streams else {}) if ask is chat else ({}, {})
    return Surface(told, call, ask, (_client_of(name),), streams, facts, leaves_out)


def _client_of(name: str) -> str:
    return "async" if name.startswith("a") else "sync"


def _routed(name: str, ask: Any, key: str) -> Surface:
    def call(module: Module, asked: dict[str, Any]) -> Any:
        given = {name: value for name, value in asked.items() if name != key}
        deployment = {"model_name": "group", "litellm_params": {**given, **module.server}}
        router = module.Router(model_list=[deployment], num_retries=0)
        return getattr(router, name)(model="group", **{key: asked[key]})

    return Surface(f"Router.{name}", call, ask, (_client_of(name),), facts=CHAT if ask is chat else {})


def _client(_: str) -> Any:
    @asynccontextmanager
    async def make(url: str) -> Any:
        yield Module(url)
        unwrap(litellm)

    return make


TABLE = Table(
    wrap=wrap,
    clients={kind: _client(kind) for kind in ("sync", "async")},
    asynchronous=frozenset({"async"}),
    surfaces=(
        _function("completion", chat),
        _function("completion", chat, streams=True),
        _function("acompletion", chat),
        _function("acompletion", chat, streams=True),
        _routed("completion", chat, "messages"),
        _routed("acompletion", chat, "messages"),
        _function("responses", response),
        _function("responses", response, streams=True),
        _function("aresponses", response),
        _function("aresponses", response, streams=True),
        _routed("aresponses", response, "input"),
    ),
    facts={
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 99,
        # What gpt-4o takes for 12 and 7 tokens: 2.50 and 10 dollars a million.
        "pandaprobe.cost": json.dumps({"total": 12 * 2.5e-6 + 7 * 10e-6}),
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 7,
        "server.address": "127.0.0.1",
    },
    # What litellm makes of an answer has an id and a time of its own.
    passing=frozenset({"id", "created", "created_at", "completed_at", "item_id", "response_id"}),
    # Of models filled in part, of clients that it keeps open for the process, and of more.
    warns=("",),
)
