"""Agents under `opentelemetry-instrument`, in programs without a word about telemetry."""

import in_process
from in_process import INSTRUMENT
from otlp_receiver import Receiver, attributes_of

from ..conftest import Models

CHAT = """
import os
from langchain.agents import create_agent
from langchain_openai import ChatOpenAI

def get_weather(city: str) -> str:
    "The weather in a city."
    return f"sunny in {city}"

model = ChatOpenAI(model="gpt-4o", max_retries=0)
agent = create_agent(model, [get_weather], name="meteorologist")
for thread in ("thread-1", "thread-2"):
    question = {"messages": [("user", "What is the weather in Paris?")]}
    agent.invoke(question, {"configurable": {"thread_id": thread}})
"""


def test_spans_are_of_the_session_of_their_thread(models: Models) -> None:
    with Receiver() as receiver:
        openai = {"OPENAI_BASE_URL": models.openai, "OPENAI_API_KEY": "none"}
        in_process.run(CHAT, under=INSTRUMENT, seconds=110, PANDAPROBE_ENDPOINT=receiver.url, **openai)
    found = sorted((str(attributes_of(span).get("session.id")), span.name) for span in receiver.spans)
    run = ["chat gpt-4o", "chat gpt-4o", "execute_tool get_weather", "invoke_agent meteorologist"]
    assert found == [(thread, name) for thread in ("thread-1", "thread-2") for name in run]
