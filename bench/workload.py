"""One turn of an agent, by plain OpenTelemetry and by the manual API: the same spans, the same content."""

import json
from random import Random
from typing import NamedTuple

from opentelemetry.trace import SpanKind, Tracer

import pandaprobe_otel as pandaprobe

SPANS_PER_TURN = 4

MODEL = "gpt-5.4-nano"
TOOLS = ("search_orders", "get_weather")
ARGUMENTS = {"query": "open orders of customer 4711", "limit": 10}
RESULT = {"rows": [{"order": 1001, "state": "shipped"}, {"order": 1002, "state": "packed"}]}

Messages = dict[str, list[dict[str, str]]]


class Conversation(NamedTuple):
    """What a turn is asked, what its model reads (about 1 KB) and what it answers (about 1 KB)."""

    asked: Messages
    prompt: Messages
    answer: Messages


def _conversation(random: Random) -> Conversation:
    question = {"role": "user", "content": _text(random, 25)}
    return Conversation(
        asked={"messages": [question]},
        prompt={"messages": [{"role": "system", "content": _text(random, 115)}, question]},
        answer={"messages": [{"role": "assistant", "content": _text(random, 140)}]},
    )


def _text(random: Random, words: int) -> str:
    # Letters by their frequency in English, so that it compresses about as text does.
    letters = random.choices("eeeeeetttaaaooooiinnnsshhrrddllcumwfgypbvk", k=words * 6)
    return " ".join("".join(letters[at : at + 6]) for at in range(0, words * 6, 6))


_RANDOM = Random(1)
CONVERSATIONS = [_conversation(_RANDOM) for _ in range(50)]


def genai(value: Messages) -> list[dict[str, object]]:
    """Messages as the GenAI conventions write them."""
    return [
        {"role": message["role"], "parts": [{"type": "text", "content": message["content"]}]}
        for message in value["messages"]
    ]


def plain_turn(tracer: Tracer, conversation: Conversation) -> None:
    with tracer.start_as_current_span(
        "support-agent",
        attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support-agent"},
    ) as root:
        root.set_attribute("gen_ai.input.messages", json.dumps(genai(conversation.asked)))
        with tracer.start_as_current_span(
            "chat",
            kind=SpanKind.CLIENT,
            attributes={"gen_ai.operation.name": "chat", "gen_ai.request.model": MODEL},
        ) as llm:
            llm.set_attribute("gen_ai.input.messages", json.dumps(genai(conversation.prompt)))
            llm.set_attribute("gen_ai.output.messages", json.dumps(genai(conversation.answer)))
            llm.set_attribute("gen_ai.usage.input_tokens", 245)
            llm.set_attribute("gen_ai.usage.output_tokens", 195)
        for name in TOOLS:
            with tracer.start_as_current_span(
                name, attributes={"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}
            ) as tool:
                tool.set_attribute("gen_ai.tool.call.arguments", json.dumps(ARGUMENTS))
                tool.set_attribute("gen_ai.tool.call.result", json.dumps(RESULT))
        root.set_attribute("gen_ai.output.messages", json.dumps(genai(conversation.answer)))


def manual_turn(conversation: Conversation) -> None:
    with pandaprobe.start_trace("support-agent", input=conversation.asked) as trace:
        with trace.span("chat", kind="LLM", model=MODEL) as llm:
            llm.set_input(conversation.prompt)
            llm.set_output(conversation.answer)
            llm.set_token_usage(prompt_tokens=245, completion_tokens=195)
        for name in TOOLS:
            with trace.span(name, kind="TOOL") as tool:
                tool.set_input(ARGUMENTS)
                tool.set_output(RESULT)
        trace.set_output(conversation.answer)
