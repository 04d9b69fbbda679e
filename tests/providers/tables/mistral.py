"""The surfaces of mistralai."""

from contextlib import asynccontextmanager
from typing import Any

from pandaprobe_otel.wrappers import wrap_mistral

from . import NUMBERS, Surface, Table, method

try:
    from mistralai.client import Mistral
except ImportError:
    from mistralai import Mistral

MODEL = "mistral-small-latest"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
NO_REFUSAL = {"refusal": "Mistral's API has none: a model says so in its text"}
# aimock sends no usage on streams that do not ask for it, which Mistral's have no way to.
NO_USAGE = {"gen_ai.usage.input_tokens": None, "gen_ai.usage.output_tokens": None}


def chat(prompt: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    tools = {"tools": [TOOL]} if "weather" in prompt else {}
    return {"messages": messages, "max_tokens": 99, "random_seed": 3, "stop": ["END"], **tools}


def of_model(prompt: str) -> dict[str, Any]:
    return {"model": MODEL, "temperature": 0.5, "safe_prompt": True, **chat(prompt)}


def of_agent(prompt: str) -> dict[str, Any]:
    return {"agent_id": "ag:1", **chat(prompt)}


def text(prompt: str) -> dict[str, Any]:
    return {
        "model": MODEL,
        "prompt": prompt,
        "suffix": "End.",
        "max_tokens": 99,
        "random_seed": 3,
        "stop": ["END"],
    }


def embedding(prompt: str) -> dict[str, Any]:
    return {"model": "mistral-embed", "inputs": [prompt], "output_dimension": 2}


def _surfaces(path: str, name: str, ask: Any, **more: Any) -> tuple[Surface, Surface]:
    """The twins of a method."""
    streams = "stream" in name
    facts = {**(NO_USAGE if streams else {}), **more.pop("facts", {})}
    leaves_out = {**NO_REFUSAL, **more.pop("leaves_out", {})}
    return (
        Surface(f"{path}.{name}", method(path, name), ask, ("sync",), streams, facts, leaves_out),
        Surface(
            f"{path}.{name}_async", method(path, f"{name}_async"), ask, ("async",), streams, facts, leaves_out
        ),
    )


def _client(_: str) -> Any:
    @asynccontextmanager
    async def make(url: str) -> Any:
        made = Mistral(api_key="none", server_url=f"{url}/mistral")
        yield made
        made.__exit__(None, None, None)
        await made.__aexit__(None, None, None)

    return make


OF_MODEL = {"gen_ai.request.temperature": 0.5, "pandaprobe.model_parameters": '{"safe_prompt": true}'}
AGENT = {"gen_ai.request.model": None, "gen_ai.agent.id": "ag:1"}
FILLS = {"gen_ai.operation.name": "text_completion"}
ONLY_TEXT = {"tool call": "it gives text and nothing else"}
TABLE = Table(
    wrap=wrap_mistral,
    clients={kind: _client(kind) for kind in ("sync", "async")},
    asynchronous=frozenset({"async"}),
    surfaces=(
        *_surfaces("chat", "complete", of_model, facts=OF_MODEL),
        *_surfaces("chat", "stream", of_model, facts=OF_MODEL),
        *_surfaces("agents", "complete", of_agent, facts=AGENT),
        *_surfaces("agents", "stream", of_agent, facts=AGENT),
        *_surfaces("fim", "complete", text, facts=FILLS, leaves_out=ONLY_TEXT),
        *_surfaces("fim", "stream", text, facts=FILLS, leaves_out=ONLY_TEXT),
        *_surfaces(
            "embeddings",
            "create",
            embedding,
            facts={
                "gen_ai.operation.name": "embeddings",
                "gen_ai.request.model": "mistral-embed",
                "gen_ai.embeddings.dimension.count": 2,
                **NUMBERS,
                "gen_ai.usage.input_tokens": 3,
            },
            leaves_out={"tool call": "it gives numbers", "refusal": "it gives numbers"},
        ),
    ),
    facts={
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "mistral_ai",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.max_tokens": 99,
        "gen_ai.request.seed": 3,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 7,
        "server.address": "127.0.0.1",
    },
)
