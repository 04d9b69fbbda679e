"""What `wrap_openai` costs beside the official instrumentation alone: `python bench/wrappers.py [ROUNDS]`.

CPU time of the thread; an in-memory transport, content on the spans, and a provider that drops them.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import openai
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.sdk.trace import TracerProvider

from pandaprobe_otel import runtime
from pandaprobe_otel.wrappers import wrap_openai

os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "SPAN_ONLY"
CHUNKS = 1000
CALL: dict[str, Any] = {
    "model": "gpt-5.4-nano",
    "messages": [{"role": "system", "content": "Be brief. " * 50}, {"role": "user", "content": "Why? " * 50}],
}
USAGE = {"prompt_tokens": 300, "completion_tokens": CHUNKS, "total_tokens": 300 + CHUNKS}
HEAD = {"id": "1", "created": 1, "model": "gpt-5.4-nano"}


class Active:
    """PandaProbe, with a provider that keeps nothing."""

    captures_content = True

    def __init__(self, provider: TracerProvider) -> None:
        self.tracer_provider = provider
        self.tracer = provider.get_tracer("bench")


def client() -> openai.OpenAI:
    http = importlib.import_module(openai.DefaultHttpxClient.__mro__[1].__module__.split(".")[0])
    message = {"role": "assistant", "content": "Because. " * 100}
    whole = {**HEAD, "object": "chat.completion", "usage": USAGE}
    whole["choices"] = [{"index": 0, "finish_reason": "stop", "message": message}]
    chunk = {**HEAD, "object": "chat.completion.chunk"}
    deltas = [{"role": "assistant", "content": ""}, *[{"content": "word "}] * CHUNKS]
    events = [{**chunk, "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    events += [{**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
    stream = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"

    def answer(request: Any) -> Any:
        if b'"stream":true' in request.content:
            return http.Response(200, headers={"content-type": "text/event-stream"}, text=stream)
        return http.Response(200, json=whole)

    return openai.OpenAI(
        api_key="none", http_client=openai.DefaultHttpxClient(transport=http.MockTransport(answer))
    )


def call(client: openai.OpenAI) -> None:
    client.chat.completions.create(**CALL)


def stream(client: openai.OpenAI) -> None:
    for _ in client.chat.completions.create(**CALL, stream=True):
        pass


def cost(work: Callable[[openai.OpenAI], None], made: openai.OpenAI, times: int) -> float:
    """CPU seconds of one call."""
    started = time.thread_time()
    for _ in range(times):
        work(made)
    return (time.thread_time() - started) / times


def main(rounds: int) -> None:
    provider = TracerProvider()
    runtime.activate(Active(provider))
    instrumentor = OpenAIInstrumentor()
    plain, wrapped = client(), wrap_openai(client())
    print("| | bare µs | official µs | wrapped µs | wrapped / official |\n|---|---|---|---|---|")
    for name, work, times in (("a call", call, 30), (f"a stream of {CHUNKS} chunks", stream, 1)):
        bare, official, ours = [], [], []
        for round in range(rounds + 2):
            bare.append(cost(work, plain, times))
            instrumentor.instrument(tracer_provider=provider)
            # Whoever comes first warms the caches of the other.
            for kept, made in ((official, plain), (ours, wrapped))[:: 1 if round % 2 else -1]:
                kept.append(cost(work, made, times))
            instrumentor.uninstrument()
        figures = [median(kept[2:]) * 1e6 for kept in (bare, official, ours)]
        ratio = median(own / other for own, other in zip(ours[2:], official[2:], strict=True))
        print(f"| {name} | {' | '.join(f'{figure:,.0f}' for figure in figures)} | {ratio:.3f} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
