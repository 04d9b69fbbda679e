"""The surfaces of boto3 and aiobotocore."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import boto3
from aiobotocore.session import get_session
from botocore.config import Config

from pandaprobe_otel.wrappers import wrap_bedrock

from . import Surface, Table

MODEL = "us.anthropic.claude-opus-4-8-v1:0"
BOTH = ("boto3", "aiobotocore")
HERE: dict[str, Any] = {
    "service_name": "bedrock-runtime",
    "region_name": "us-east-1",
    "aws_access_key_id": "none",
    "aws_secret_access_key": "none",
    "config": Config(retries={"max_attempts": 1, "mode": "standard"}),
}


def converse(prompt: str) -> dict[str, Any]:
    tool = {"name": "get_weather", "inputSchema": {"json": {"type": "object"}}}
    tools = {"toolConfig": {"tools": [{"toolSpec": tool}]}} if "weather" in prompt else {}
    return {
        "modelId": MODEL,
        "system": [{"text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"text": prompt}]}],
        "inferenceConfig": {"maxTokens": 99},
        **tools,
    }


def invoke(prompt: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    tools = (
        {"tools": [{"name": "get_weather", "input_schema": {"type": "object"}}]}
        if "weather" in prompt
        else {}
    )
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 99, "messages": messages, **tools}
    return {"modelId": MODEL, "body": json.dumps(body)}


def _whole(name: str, key: str, ask: Any) -> Surface:
    """One whose answer is a part of what is returned: the fields, a body to read, or a stream."""

    def call(client: Any, asked: dict[str, Any]) -> Any:
        answer = getattr(client, name)(**asked)
        return _awaited(answer, key) if hasattr(answer, "__await__") else _told(answer, key)

    refused = "refusal" if ask is invoke else None
    return Surface(name, call, ask, BOTH, streams="stream" in name, refused=refused)


def _told(answer: dict[str, Any], key: str) -> Any:
    held = answer.get(key)
    if key == "body" and hasattr(held, "read"):
        return held.read().decode()
    return iter(held) if hasattr(held, "__iter__") and not isinstance(held, dict) else held


async def _awaited(pending: Any, key: str) -> Any:
    held = (await pending).get(key)
    if key == "body" and hasattr(held, "read"):
        async with held as body:
            return (await body.read()).decode()
    return _closing(held) if hasattr(held, "__aiter__") else held


async def _closing(stream: Any) -> AsyncIterator[Any]:
    # aiohttp warns of what nobody closes.
    try:
        async for event in stream:
            yield event
    finally:
        stream.close()


def _client(kind: str) -> Any:
    @asynccontextmanager
    async def make(url: str) -> Any:
        if kind == "boto3":
            made = boto3.client(endpoint_url=url, **HERE)
            yield made
            made.close()
        else:
            async with get_session().create_client(endpoint_url=url, **HERE) as made:
                yield made

    return make


TABLE = Table(
    wrap=wrap_bedrock,
    clients={kind: _client(kind) for kind in BOTH},
    asynchronous=frozenset({"aiobotocore"}),
    surfaces=(
        _whole("converse", "output", converse),
        _whole("converse_stream", "stream", converse),
        _whole("invoke_model", "body", invoke),
        _whole("invoke_model_with_response_stream", "body", invoke),
    ),
    facts={
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "aws.bedrock",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.max_tokens": 99,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 17,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.cache_write.input_tokens": 3,
        "server.address": "127.0.0.1",
    },
    refused="content_filter",
)
