"""Agents under `opentelemetry-instrument`, in programs without a word about telemetry."""

import in_process
from in_process import INSTRUMENT
from otlp_receiver import Receiver, attributes_of

from ..conftest import Models, arrived

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


GRAPH = """
import sys
from langchain.agents import create_agent
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

callbacks = []
if "by hand" in sys.argv:
    import pandaprobe_otel
    from pandaprobe_otel.integrations.langgraph import LangGraphCallbackHandler
    pandaprobe_otel.init()
    callbacks = [LangGraphCallbackHandler()]

def get_weather(city: str) -> str:
    "The weather in a city."
    return f"sunny in {city}"

def confirm(state: MessagesState):
    return {"messages": [("user", interrupt("Really?"))]}

agent = create_agent(ChatOpenAI(model="gpt-4o", max_retries=0), [get_weather], name="meteorologist")
graph = StateGraph(MessagesState).add_node("ask", agent).add_node(confirm)
graph = graph.add_edge(START, "ask").add_edge("ask", "confirm").compile(InMemorySaver())
config = {"callbacks": callbacks, "configurable": {"thread_id": "thread-1"}}
graph.invoke({"messages": [("user", "What is the weather in Paris?")]}, config)
graph.invoke(Command(resume="yes"), config)
"""


def test_tree_is_that_of_the_handler(models: Models) -> None:
    told = {}
    for how, under in (("no code", INSTRUMENT), ("by hand", ())):
        with Receiver() as receiver:
            openai = {"OPENAI_BASE_URL": models.openai, "OPENAI_API_KEY": "none"}
            program = f"import sys; sys.argv.append({how!r})\n{GRAPH}"
            in_process.run(program, under=under, seconds=110, PANDAPROBE_ENDPOINT=receiver.url, **openai)
        events = [event.name for span in receiver.spans for event in span.events]
        told[how] = (arrived(receiver.spans), sorted(events), sorted(map(_messages, receiver.spans)))
    assert told["no code"] == told["by hand"]
    tree, events, _ = told["no code"]
    assert tree == [
        f"{line} of thread-1"
        for line in (
            "invoke_workflow LangGraph",
            "  ask",
            "    invoke_agent meteorologist",
            "      chat gpt-4o",
            "      execute_tool get_weather",
            "      chat gpt-4o",
            "  confirm",
            "invoke_workflow LangGraph",
            "  confirm",
        )
    ]
    assert {"langgraph.interrupt", "langgraph.resume"} <= set(events)


def _messages(span: object) -> str:
    return str(attributes_of(span).get("gen_ai.output.messages"))
