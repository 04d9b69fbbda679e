"""Agents under `opentelemetry-instrument`, in programs without a word about telemetry."""

from pathlib import Path

import in_process
import pytest
from in_process import INSTRUMENT
from otlp_receiver import Receiver, attributes_of

from ..conftest import Models, arrived
from . import test_deepagents

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


@pytest.mark.scenario("no code", of="LangChain")
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


@pytest.mark.scenario("no code", of="LangGraph")
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


DEEP = """
from deepagents import create_deep_agent
from langchain_openai import ChatOpenAI

expert = {"name": "expert", "description": "Knows it all.", "system_prompt": "Be brief.", "tools": []}
agent = create_deep_agent(ChatOpenAI(model="gpt-4o", max_retries=0), [], subagents=[expert], name="deep")
question = {"messages": [("user", "give the task to the expert")]}
agent.invoke(question, {"configurable": {"thread_id": "thread-1"}})
"""


@pytest.mark.scenario("no code", of="Deep Agents")
def test_tree_of_a_deep_agent_is_that_of_the_handler(models: Models) -> None:
    with Receiver() as receiver:
        openai = {"OPENAI_BASE_URL": models.openai, "OPENAI_API_KEY": "none"}
        in_process.run(DEEP, under=INSTRUMENT, seconds=110, PANDAPROBE_ENDPOINT=receiver.url, **openai)
    assert arrived(receiver.spans) == [f"{line} of thread-1" for line in test_deepagents.RUN]


NODE = """
from langchain_core.language_models import FakeListChatModel
from langgraph.graph import START, MessagesState, StateGraph

model = FakeListChatModel(responses=["Hi there."])
graph = StateGraph(MessagesState)
graph.add_node("answer", lambda state: {"messages": [model.invoke(state["messages"])]})
graph = graph.add_edge(START, "answer").compile()
graph.invoke({"messages": [("user", "hello")]}, {"configurable": {"thread_id": "thread-1"}})
"""
OURS = ["  answer", "    chat FakeListChatModel", "invoke_workflow LangGraph"]


@pytest.mark.parametrize(
    ("disabled", "names"),
    [
        # The official one has no nodes, and leaves out a model that has no name.
        ("pandaprobe_langchain", ["invoke_workflow LangGraph"]),
        ("requests, langchain", []),
    ],
)
def test_instrumentation_that_is_disabled_by_its_name_stays_off(disabled: str, names: list[str]) -> None:
    with Receiver() as receiver:
        environment = {"PANDAPROBE_ENDPOINT": receiver.url, "PANDAPROBE_EXPORT": "all"}
        in_process.run(NODE, under=INSTRUMENT, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=disabled, **environment)
    assert [span.name for span in receiver.spans] == names


# As `opentelemetry-distro` does it, with a hook of its own.
OTHER_DISTRO = """
import os
from opentelemetry.instrumentation.distro import BaseDistro
from opentelemetry.sdk._configuration import _OTelSDKConfigurator

class Distro(BaseDistro):
    def _configure(self, **kwargs):
        os.environ.setdefault("OTEL_TRACES_EXPORTER", "otlp")

class Configurator(_OTelSDKConfigurator):
    pass

def hook():
    import langchain_core.callbacks
"""
ENTRY_POINTS = """
[opentelemetry_distro]
other = other_distro:Distro
[opentelemetry_configurator]
other = other_distro:Configurator
[opentelemetry_post_instrument]
other = other_distro:hook
"""


@pytest.mark.parametrize("order", ["before ours", "after ours"])
def test_guest_of_another_distribution_traces_nodes_whichever_hook_comes_first(
    order: str, tmp_path: Path
) -> None:
    path = in_process.path_with_other_distribution(
        tmp_path, OTHER_DISTRO, ENTRY_POINTS, first=order == "before ours"
    )
    with Receiver() as theirs, Receiver() as ours:
        in_process.run(
            NODE,
            under=INSTRUMENT,
            PYTHONPATH=path,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_EXPORTER_OTLP_ENDPOINT=theirs.url,
            OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
            PANDAPROBE_ENDPOINT=ours.url,
        )
    for receiver in (theirs, ours):
        assert sorted(arrived(receiver.spans)) == sorted(f"{line} of thread-1" for line in OURS)


def test_official_instrumentation_stays_where_pandaprobe_is_off() -> None:
    with Receiver() as theirs:
        ended = in_process.run(
            NODE,
            under=INSTRUMENT,
            OTEL_TRACES_EXPORTER="otlp",
            OTEL_EXPORTER_OTLP_ENDPOINT=theirs.url,
            OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        )
    assert [span.name for span in theirs.spans] == ["invoke_workflow LangGraph"]
    assert "PANDAPROBE" not in ended.errors
