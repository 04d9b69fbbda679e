"""The surfaces of google-genai."""

from contextlib import asynccontextmanager
from typing import Any

from google import genai
from google.genai import types

from pandaprobe_otel.wrappers import wrap_gemini

from . import NUMBERS, Surface, Table, method

MODEL = "gemini-2.5-flash"
WEATHER = types.FunctionDeclaration(
    name="get_weather",
    description="The weather.",
    parameters=types.Schema(
        type=types.Type.OBJECT, properties={"city": types.Schema(type=types.Type.STRING)}
    ),
)


def content(prompt: str) -> dict[str, Any]:
    tools = [types.Tool(function_declarations=[WEATHER])] if "weather" in prompt else None
    config = types.GenerateContentConfig(
        system_instruction="Be brief.",
        temperature=0.5,
        top_k=40,
        max_output_tokens=99,
        stop_sequences=["END"],
        thinking_config=types.ThinkingConfig(thinking_budget=0),
        tools=tools,
    )
    return {"model": MODEL, "contents": prompt, "config": config}


def embedding(prompt: str) -> dict[str, Any]:
    config = types.EmbedContentConfig(output_dimensionality=2)
    return {"model": "gemini-embedding-001", "contents": prompt, "config": config}


def _generate(path: str, name: str, kind: str) -> Surface:
    return Surface(f"{path}.{name}", method(path, name), content, (kind,), "stream" in name)


def _send(path: str, name: str, kind: str) -> Surface:
    def call(client: Any, asked: dict[str, Any]) -> Any:
        chats = client.aio.chats if kind == "aio" else client.chats
        chat = chats.create(model=asked["model"], config=asked["config"])
        return getattr(chat, name)(asked["contents"])

    return Surface(f"{path}.{name}", call, content, (kind,), "stream" in name)


def _client(_: str) -> Any:
    @asynccontextmanager
    async def make(url: str) -> Any:
        options = types.HttpOptions(base_url=url, api_version="v1beta")
        made = genai.Client(api_key="none", http_options=options)
        yield made
        made.close()
        await made.aio.aclose()

    return make


TABLE = Table(
    wrap=wrap_gemini,
    clients={kind: _client(kind) for kind in ("Client", "aio")},
    asynchronous=frozenset({"aio"}),
    surfaces=tuple(
        surface
        for prefix, kind in (("", "Client"), ("aio.", "aio"))
        for surface in (
            _generate(f"{prefix}models", "generate_content", kind),
            _generate(f"{prefix}models", "generate_content_stream", kind),
            _send(f"{prefix}chats", "send_message", kind),
            _send(f"{prefix}chats", "send_message_stream", kind),
            Surface(
                f"{prefix}models.embed_content",
                method(f"{prefix}models", "embed_content"),
                embedding,
                (kind,),
                facts={
                    "gen_ai.operation.name": "embeddings",
                    "gen_ai.request.model": "gemini-embedding-001",
                    "gen_ai.embeddings.dimension.count": 2,
                    **NUMBERS,
                },
                leaves_out=dict.fromkeys(("tool call", "refusal"), "it gives numbers"),
            ),
        )
    ),
    facts={
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_k": 40,
        "gen_ai.request.max_tokens": 99,
        "gen_ai.request.stop_sequences": ("END",),
        "pandaprobe.model_parameters": '{"thinking_budget": 0}',
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 7,
        "server.address": "127.0.0.1",
    },
    refused="content_filter",
    warns=(
        # How aimock says why an answer with a function call ended; Google's own says STOP.
        ":FUNCTION_CALL is not a valid FinishReason",
        "::DeprecationWarning:google.genai.*",
    ),
)
