"""What `LangChainCallbackHandler` promises for chains, with the real LangChain and models over real HTTP."""

import asyncio
import json
from typing import Any

import openai
import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from opentelemetry.trace import StatusCode
from pandaprobe_receiver import Courier
from span_tree import named, tree

import pandaprobe_otel as pandaprobe
from pandaprobe_otel import attributes
from pandaprobe_otel.integrations.langchain import LangChainCallbackHandler
from pandaprobe_otel.testing import assert_session
from pandaprobe_otel.wrappers import wrap_openai

from ..conftest import Models, Spans

FRAMEWORK = "LangChain"

CHAIN_RUN = ["invoke_workflow RunnableSequence", "  chat gpt-4o"]


class Shelf(BaseRetriever):
    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        if query == "nothing":
            raise LookupError("no such thing")
        return [Document("Paris is sunny.", id="doc-1")]


@pytest.fixture
def handler() -> LangChainCallbackHandler:
    return LangChainCallbackHandler()


@pytest.fixture
def chain(model: ChatOpenAI) -> Any:
    return ChatPromptTemplate.from_messages([("user", "{question}")]) | model | StrOutputParser()


@pytest.mark.scenario("stream", "batch")
async def test_chain_is_one_tree_however_it_is_run(chain: Any, handler: Any, spans: Spans) -> None:
    run: Any = {"callbacks": [handler]}
    with pandaprobe.session("block"):
        chain.invoke({"question": "hello"}, run)
        await chain.ainvoke({"question": "hello"}, run)
        list(chain.stream({"question": "hello"}, run))
        [_ async for _ in chain.astream({"question": "hello"}, run)]
        [_ async for _ in chain.astream_events({"question": "hello"}, run)]
        chain.batch([{"question": "hello"}] * 2, run)
        await chain.abatch([{"question": "hello"}] * 2, run)
    assert sorted(tree(spans.ended)) == sorted(CHAIN_RUN * 9)
    for span in spans.ended:
        if span.name == CHAIN_RUN[1]:
            assert span.parent is not None
    assert_session(spans.ended, "block")


def test_session_in_the_metadata_of_a_run_is_its_session(chain: Any, handler: Any, spans: Spans) -> None:
    chain.invoke({"question": "hello"}, {"callbacks": [handler], "metadata": {"session_id": "from-metadata"}})
    assert_session(spans.ended, "from-metadata")


@pytest.mark.scenario("conversations at once")
async def test_chains_at_the_same_time_keep_their_blocks(chain: Any, handler: Any, spans: Spans) -> None:
    async def run(session_id: str) -> None:
        with pandaprobe.session(session_id):
            await chain.ainvoke({"question": "hello"}, {"callbacks": [handler]})

    ids = [f"session-{number}" for number in range(5)]
    await asyncio.gather(*map(run, ids))
    for id in ids:
        mine = [span for span in spans.ended if (span.attributes or {})["session.id"] == id]
        assert tree(mine) == CHAIN_RUN


@pytest.mark.scenario("parallel branches")
def test_parallel_branches_are_under_their_chain(model: ChatOpenAI, handler: Any, spans: Spans) -> None:
    def work(name: str) -> RunnableLambda[Any, str]:
        def run(_: Any) -> str:
            spans.tracer.start_span(name).end()
            return name

        return RunnableLambda(run)

    both = RunnableParallel(left=work("left"), right=work("right"), answer=model)
    with pandaprobe.session("block"):
        both.invoke("hello", {"callbacks": [handler]})
    found = tree(spans.ended)
    assert found[0] == "invoke_workflow RunnableParallel<left,right,answer>"
    assert sorted(found[1:]) == ["  chat gpt-4o", "  left", "  right"]
    assert_session(spans.ended, "block")


@pytest.mark.scenario("what REST gets")
def test_call_of_a_model_alone_is_a_step_with_its_tokens(
    model: ChatOpenAI, handler: Any, spans: Spans
) -> None:
    with pandaprobe.session("block"):
        model.invoke("hello", {"callbacks": [handler]})
    assert tree(spans.ended) == ["chat gpt-4o"]
    courier = Courier()
    courier.bring(spans.ended)
    courier.wait(60)
    trace = courier.receiver.named("chat gpt-4o")
    (step,) = trace["spans"].values()
    assert (trace["session_id"], step["token_usage"]["prompt_tokens"]) == ("block", 12)


@pytest.mark.scenario("search", "error")
def test_search_is_a_span_with_what_was_asked_and_found(handler: Any, spans: Spans) -> None:
    chain = RunnableLambda(lambda question: question) | Shelf()
    chain.invoke("weather", {"callbacks": [handler]})
    found = next(span for span in spans.ended if span.name.startswith("retrieval"))
    told = found.attributes or {}
    assert told["gen_ai.retrieval.query.text"] == "weather"
    assert [each["id"] for each in json.loads(str(told["gen_ai.retrieval.documents"]))] == ["doc-1"]
    with pytest.raises(LookupError):
        Shelf().invoke("nothing", {"callbacks": [handler]})
    assert spans.ended[-1].status.status_code is StatusCode.ERROR


def test_model_that_has_no_name_is_called_by_its_class(handler: Any, spans: Spans) -> None:
    model = GenericFakeChatModel(messages=iter([AIMessage("Hi there.")]))
    model.invoke("hello", {"callbacks": [handler]})
    assert tree(spans.ended) == ["chat GenericFakeChatModel"]


@pytest.mark.scenario("without messages")
def test_content_stays_out_where_it_is_not_to_be_captured(
    chain: Any, handler: Any, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans._captured, "captures_content", False)
    chain.invoke({"question": "hello"}, {"callbacks": [handler]})
    assert tree(spans.ended) == CHAIN_RUN
    for span in spans.ended:
        assert "hello" not in str(span.attributes)


def test_stream_says_when_its_first_piece_came(chain: Any, handler: Any, spans: Spans) -> None:
    list(chain.stream({"question": "hello"}, {"callbacks": [handler]}))
    told = named(spans.ended, "chat gpt-4o").attributes or {}
    assert told[attributes.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK]


@pytest.mark.scenario("tool", "two turns with memory", "sub-agent")
def test_turns_of_an_agent_are_traces_of_one_session(
    model: ChatOpenAI, handler: Any, spans: Spans, models: Models
) -> None:
    expert = create_agent(model, [], name="expert")

    def ask_expert(question: str) -> str:
        """Asks the expert."""
        answer: str = expert.invoke({"messages": [("user", question)]})["messages"][-1].content
        return answer

    desk = create_agent(model, [ask_expert], name="desk", checkpointer=InMemorySaver())
    run: Any = {"callbacks": [handler], "configurable": {"thread_id": "thread-1"}}
    for question in ("delegate it", "hello"):
        desk.invoke({"messages": [("user", question)]}, run)
    assert tree(spans.ended) == [
        *("invoke_agent desk", "  chat gpt-4o", "  execute_tool ask_expert"),
        *("    invoke_agent expert", "      chat gpt-4o", "  chat gpt-4o"),
        *("invoke_agent desk", "  chat gpt-4o"),
    ]
    assert_session(spans.ended, "thread-1")
    assert spans.tokens() == models.served()
    assert len({(span.attributes or {})[attributes.PANDAPROBE_TRACE_ID] for span in spans.ended}) == 2


@pytest.mark.scenario("every source of the session", "inside a trace")
def test_parameter_is_stronger_than_a_block_and_a_block_than_the_metadata(chain: Any, spans: Spans) -> None:
    def run(handler: LangChainCallbackHandler) -> None:
        config: Any = {"callbacks": [handler], "metadata": {"session_id": "from-metadata"}}
        chain.invoke({"question": "hello"}, config)

    with pandaprobe.start_trace("turn", session_id="block"):
        labels: Any = {"user_id": "ada", "tags": ["beta"], "metadata": {"plan": "free"}}
        run(LangChainCallbackHandler(session_id="parameter", **labels))
        run(LangChainCallbackHandler())
    assert_session(spans.ended[:2], "parameter")
    told = spans.ended[1].attributes or {}
    assert (told["user.id"], told[attributes.PANDAPROBE_TAGS]) == ("ada", ("beta",))
    assert told[attributes.PANDAPROBE_METADATA] == '{"plan": "free"}'
    assert told["gen_ai.conversation.id"] == "from-metadata"
    assert_session(spans.ended[2:], "block")
    assert tree(spans.ended) == ["turn", *(f"  {line}" for line in CHAIN_RUN * 2)]


@pytest.mark.scenario("wrapped client beneath")
def test_wrapped_client_beneath_makes_no_second_span(models: Models, handler: Any, spans: Spans) -> None:
    client = wrap_openai(openai.OpenAI(base_url=models.openai, api_key="none", max_retries=0))
    model = ChatOpenAI(model="gpt-4o", client=client.chat.completions, root_client=client, api_key="none")
    (model | StrOutputParser()).invoke("hello", {"callbacks": [handler]})
    assert tree(spans.ended) == CHAIN_RUN
    assert spans.tokens() == models.served()


@pytest.mark.scenario("retry")
def test_every_attempt_of_a_chain_is_a_call_in_its_tree(
    model: ChatOpenAI, handler: Any, spans: Spans
) -> None:
    chain = RunnableLambda(lambda _: "limited") | model.with_retry(
        stop_after_attempt=2, wait_exponential_jitter=False
    )
    with pandaprobe.session("block"), pytest.raises(openai.RateLimitError):
        chain.invoke("", {"callbacks": [handler]})
    assert tree(spans.ended) == [CHAIN_RUN[0], CHAIN_RUN[1], CHAIN_RUN[1]]
    assert {span.status.status_code for span in spans.ended} == {StatusCode.ERROR}
    assert_session(spans.ended, "block")


@pytest.mark.scenario("cancelled")
async def test_run_that_is_cancelled_ends_and_leaves_nothing(chain: Any, handler: Any, spans: Spans) -> None:
    started = asyncio.Event()

    async def wait(_: Any) -> None:
        started.set()
        await asyncio.sleep(60)

    slow: Any = RunnableLambda(wait) | RunnableLambda(lambda _: "")
    run = asyncio.create_task(slow.ainvoke("", {"callbacks": [handler]}))
    await started.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert [(span.name, span.status.status_code) for span in spans.ended] == [
        (CHAIN_RUN[0], StatusCode.ERROR)
    ]
    await chain.ainvoke({"question": "hello"}, {"callbacks": [handler]})
    assert tree(spans.ended[1:]) == CHAIN_RUN
