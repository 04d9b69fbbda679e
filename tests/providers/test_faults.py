"""No fault of the tracing reaches a caller: every function of the instrumentations is made to raise."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

import bedrock_fake
import pytest
from aimock import AIMock
from opentelemetry import context
from opentelemetry.util.genai import handler, invocation

from pandaprobe_otel import guard, wrappers
from pandaprobe_otel.testing import Captured

from .surfaces import collect, outcome

PACKAGE = "opentelemetry.instrumentation.genai"
MESSAGES = [{"role": "user", "content": "Hello."}]
OURS = (handler.TelemetryHandler, invocation.InferenceInvocation)


def modules(provider: str) -> list[ModuleType]:
    package = pytest.importorskip(f"{PACKAGE}.{provider}.patch").__package__
    found = pkgutil.iter_modules(importlib.import_module(package).__path__)
    return [importlib.import_module(f"{package}.{module.name}") for module in found]


def steps(provider: str) -> list[tuple[list[object], str]]:
    """Each function, with all the modules and classes that call it by its name."""
    own = modules(provider)
    classes = [
        kind
        for module in own
        for kind in vars(module).values()
        if inspect.isclass(kind) and kind.__module__.startswith(PACKAGE)
    ]
    holders: dict[tuple[str, FunctionType], list[object]] = {}
    for holder in (*own, *classes, *OURS):
        for name, function in list(vars(holder).items()):
            if isinstance(function, FunctionType) and _is_a_step(name, function):
                holders.setdefault((name, function), []).append(holder)
    return [(held, name) for (name, _), held in holders.items()]


# What a caller calls himself, and what only sets the context.
NO_STEPS = {"close", "parse", "read", "readinto", "aclose", "iter_chunks", "iter_lines", "readlines", "anext"}
NO_STEPS |= {"suspend", "activate"}


def _is_a_step(name: str, function: FunctionType) -> bool:
    known = function.__module__.startswith((PACKAGE, "opentelemetry.util.genai"))
    return known and not name.startswith("__") and name not in NO_STEPS


def _raise(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError("a fault of the tracing")


def _openai(mock: AIMock) -> Iterator[tuple[Any, dict[str, Any]]]:
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=f"{mock.url}/v1", api_key="none", max_retries=0) as client:
        chat = {"model": "gpt-5.4-nano", "messages": MESSAGES}
        yield (
            client,
            {
                "a call": lambda client: client.chat.completions.create(**chat),
                "a stream": lambda client: client.chat.completions.create(**chat, stream=True),
                "a response": lambda client: client.responses.create(model="gpt-5.4-nano", input="Hello."),
                "a helper": lambda client: client.responses.stream(model="gpt-5.4-nano", input="Hello."),
                "an embedding": lambda client: client.embeddings.create(model="m", input="embed"),
            },
        )


def _anthropic(mock: AIMock) -> Iterator[tuple[Any, dict[str, Any]]]:
    anthropic = pytest.importorskip("anthropic")
    with anthropic.Anthropic(base_url=mock.url, api_key="none", max_retries=0) as client:
        asked = {"model": "claude-opus-4-8", "max_tokens": 99, "messages": MESSAGES}
        yield (
            client,
            {
                "a call": lambda client: client.messages.create(**asked),
                "a stream": lambda client: client.messages.create(**asked, stream=True),
                "a helper": lambda client: client.messages.stream(**asked),
            },
        )


def _bedrock(_: AIMock) -> Iterator[tuple[Any, dict[str, Any]]]:
    boto3 = pytest.importorskip("boto3")
    with bedrock_fake.running() as fake:
        keys = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
        client = boto3.client("bedrock-runtime", region_name="us-east-1", endpoint_url=fake.url, **keys)
        asked = {"modelId": "m", "messages": [{"role": "user", "content": [{"text": "Hello."}]}]}
        body = '{"max_tokens": 99, "messages": []}'
        yield (
            client,
            {
                "a call": lambda client: client.converse(**asked)["output"],
                "a stream": lambda client: iter(client.converse_stream(**asked)["stream"]),
                "an invocation": lambda client: {
                    "body": client.invoke_model(modelId="m", body=body)["body"].read()
                },
            },
        )
        client.close()


PROVIDERS = {"openai": _openai, "anthropic": _anthropic, "bedrock": _bedrock}


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_no_step_of_the_tracing_that_fails_reaches_the_caller(
    provider: str, mock: AIMock, spans: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = steps(provider)
    wrap = getattr(wrappers, f"wrap_{provider}")
    monkeypatch.setattr(guard, "loud", False)
    for client, calls in PROVIDERS[provider](mock):
        plain = {
            name: await outcome(lambda client, call: call(client), client, call)
            for name, call in calls.items()
        }
        for holders, step in taken:
            wrappers.unwrap(client)
            with monkeypatch.context() as patched:
                for holder in holders:
                    patched.setattr(holder, step, _raise)
                wrap(client)
                for name, call in calls.items():
                    before = context.get_current()
                    try:
                        seen = await collect(call(client))
                    except ZeroDivisionError:
                        pytest.fail(f"{name} raises what {step} of {holders} raised")
                    assert ("answer", seen) == plain[name], (name, step)
                    assert context.get_current() == before, (name, step)
    assert len(taken) > 30
