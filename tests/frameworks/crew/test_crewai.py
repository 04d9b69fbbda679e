"""What `CrewAIAdapter` promises, with the real CrewAI and models over real HTTP."""

import asyncio
import gc
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from crewai import LLM, Agent, Crew, Memory, Task
from crewai.events.event_bus import crewai_event_bus
from crewai.flow.async_feedback.types import HumanFeedbackPending
from crewai.flow.flow import Flow, listen, start
from crewai.flow.human_feedback import human_feedback
from crewai.knowledge.source.string_knowledge_source import StringKnowledgeSource
from crewai.tools import tool
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode
from pandaprobe_receiver import Courier
from span_tree import named, tree

import pandaprobe_otel as pandaprobe
from pandaprobe_otel import runtime
from pandaprobe_otel.integrations.crewai import CrewAIAdapter
from pandaprobe_otel.testing import assert_session

from ..conftest import Models, Spans

FRAMEWORK = "CrewAI"

AGENT = ["invoke_agent meteorologist", "  chat gpt-4o", "  execute_tool get_weather", "    lookup"]
AGENT_RUN = [*AGENT, "  chat gpt-4o"]
CREW_RUN = ["invoke_workflow forecast", "  task", *(f"    {line}" for line in AGENT_RUN)]


@pytest.fixture
def adapter() -> Iterator[CrewAIAdapter]:
    with CrewAIAdapter(session_input="conversation") as adapter:
        yield adapter


@pytest.fixture
def agent(models: Models, spans: Spans, adapter: CrewAIAdapter) -> Agent:
    return agent_of(models, spans)


def agent_of(models: Models, spans: Spans, **llm: Any) -> Agent:
    @tool
    def get_weather(city: str) -> str:
        """The weather in a city."""
        with spans.tracer.start_as_current_span("lookup"):
            return f"sunny in {city}"

    @tool
    def fail() -> str:
        """Always fails."""
        raise LookupError("no such thing")

    model = LLM(model="gpt-4o", base_url=models.openai, api_key="none", max_retries=0, **llm)
    told: Any = {"role": "meteorologist", "goal": "Tell the weather.", "backstory": "Old."}
    return Agent(**told, llm=model, tools=[get_weather, fail], max_iter=3, max_retry_limit=0)


def crew_of(agent: Agent, question: str = "What is the weather in {city}?", **more: Any) -> Crew:
    task = Task(description=question, expected_output="One line.", agent=agent, **more)
    return Crew(agents=[agent], tasks=[task], name="forecast")


def inputs(conversation: str) -> dict[str, str]:
    return {"city": "Paris", "conversation": conversation}


def texts(span: ReadableSpan, key: str) -> str:
    messages = json.loads(str((span.attributes or {}).get(key, "[]")))
    return " | ".join(part.get("content", part["type"]) for each in messages for part in each["parts"])


def values(spans: Spans, key: str) -> set[Any]:
    return {(span.attributes or {}).get(key) for span in spans.ended}


@pytest.mark.scenario("tool")
def test_kickoff_is_one_tree_in_the_session_of_its_input(agent: Agent, spans: Spans, models: Models) -> None:
    crew_of(agent).kickoff(inputs("c-1"))
    assert tree(spans.ended) == CREW_RUN
    assert_session(spans.ended, "c-1")
    assert len(values(spans, "pandaprobe.trace.id")) == 1
    assert spans.tokens() == models.served() == (114, 13)
    assert {span.status.status_code for span in spans.ended} == {StatusCode.UNSET}
    first, last = [span for span in spans.ended if span.name == "chat gpt-4o"]
    assert "What is the weather in Paris?" in texts(first, "gen_ai.input.messages")
    assert (first.attributes or {})["gen_ai.response.finish_reasons"] == ("tool_calls",)
    assert texts(last, "gen_ai.output.messages") == "It is sunny in Paris."
    tool_call = named(spans.ended, "execute_tool get_weather").attributes or {}
    assert json.loads(str(tool_call["gen_ai.tool.call.arguments"])) == {"city": "Paris"}
    assert tool_call["gen_ai.tool.call.result"] == "sunny in Paris"


@pytest.mark.scenario("what REST gets")
def test_pandaprobe_gets_the_turn_with_its_steps(agent: Agent, spans: Spans) -> None:
    crew_of(agent).kickoff(inputs("c-1"))
    courier = Courier()
    courier.bring(spans.ended)
    courier.wait(60)
    turn = courier.receiver.named("invoke_workflow forecast")
    assert (turn["session_id"], turn["status"]) == ("c-1", "COMPLETED")
    assert json.loads(turn["input"]["messages"][0]["content"]) == inputs("c-1")
    assert turn["output"]["messages"][0]["content"] == "It is sunny in Paris."
    steps = sorted(turn["spans"].values(), key=lambda step: step["started_at"])
    assert [step["kind"] for step in steps] == ["CHAIN", "AGENT", "LLM", "TOOL", "OTHER", "LLM"]
    assert sum(step["token_usage"]["prompt_tokens"] for step in steps if step["token_usage"]) == 114


@pytest.mark.scenario("every source of the session")
def test_block_is_stronger_than_the_input_and_a_parameter_than_both(agent: Agent, spans: Spans) -> None:
    with pandaprobe.session("block"):
        crew_of(agent).kickoff(inputs("c-1"))
    assert_session(spans.ended, "block")
    assert (spans.ended[-1].attributes or {})["gen_ai.conversation.id"] == "c-1"
    before = len(spans.ended)
    adapter = CrewAIAdapter(session_id="explicit", user_id="u-1", tags=["beta"], metadata={"plan": "free"})
    with adapter, pandaprobe.session("block"):
        crew_of(agent).kickoff(inputs("c-1"))
    assert_session(spans.ended[before:], "explicit")
    run = spans.ended[-1].attributes or {}
    assert run["pandaprobe.tags"] == ("beta",)
    assert (run["pandaprobe.metadata"], run["user.id"]) == ('{"plan": "free"}', "u-1")


@pytest.mark.scenario("conversations at once")
def test_kickoffs_at_the_same_time_stay_apart(models: Models, spans: Spans, adapter: Any) -> None:
    conversations = [f"c-{number}" for number in range(4)]
    with ThreadPoolExecutor() as pool:
        crews = [crew_of(agent_of(models, spans)) for _ in conversations]
        list(pool.map(lambda crew, id: crew.kickoff(inputs(id)), crews, conversations))
    for conversation in conversations:
        own = [span for span in spans.ended if (span.attributes or {})["session.id"] == conversation]
        assert tree(own) == CREW_RUN


async def test_asynchronous_kickoffs_stay_apart(models: Models, spans: Spans, adapter: Any) -> None:
    def crew() -> Crew:
        return crew_of(agent_of(models, spans))

    await asyncio.gather(
        crew().kickoff_async(inputs("thread")), crew().akickoff(inputs("c-1")), crew().akickoff(inputs("c-2"))
    )
    for conversation in ("thread", "c-1", "c-2"):
        own = [span for span in spans.ended if (span.attributes or {})["session.id"] == conversation]
        assert tree(own) == CREW_RUN


@pytest.mark.scenario("parallel branches")
def test_task_of_its_own_thread_is_under_its_crew(agent: Agent, spans: Spans) -> None:
    crew_of(agent, async_execution=True).kickoff(inputs("c-1"))
    assert tree(spans.ended) == CREW_RUN
    assert_session(spans.ended, "c-1")


def test_agent_without_a_crew_is_a_turn(agent: Agent, spans: Spans) -> None:
    agent.kickoff("hello")
    assert tree(spans.ended) == ["invoke_agent meteorologist", "  chat gpt-4o"]
    (turn,) = values(spans, "pandaprobe.trace.id")
    assert turn is not None


@pytest.mark.scenario("inside a trace")
def test_runs_inside_a_trace_are_part_of_its_turn(agent: Agent, spans: Spans) -> None:
    with pandaprobe.start_trace("request", session_id="mine"):
        crew_of(agent).kickoff(inputs("c-1"))
    assert tree(spans.ended) == ["request", *(f"  {line}" for line in CREW_RUN)]
    assert len(values(spans, "pandaprobe.trace.id")) == 1
    assert_session(spans.ended, "mine")


def test_flow_is_one_tree_with_what_its_methods_start(agent: Agent, spans: Spans) -> None:
    class Support(Flow[Any]):
        @start()
        def ask(self) -> str:
            with spans.tracer.start_as_current_span("own work"):
                return "hello"

        @listen(ask)
        def answer(self, question: str) -> str:
            return agent.kickoff(question).raw

    Support().kickoff(inputs={"conversation": "c-1"})
    assert tree(spans.ended) == [
        "invoke_workflow Support",
        "  ask",
        "    own work",
        "  answer",
        "    invoke_agent meteorologist",
        "      chat gpt-4o",
    ]
    assert_session(spans.ended, "c-1")


def test_crews_and_flows_inside_a_flow_are_below_their_methods(agent: Agent, spans: Spans) -> None:
    class Inner(Flow[Any]):
        @start()
        def look(self) -> str:
            return agent.kickoff("hello").raw

    class Outer(Flow[Any]):
        @start()
        def first(self) -> str:
            crew_of(agent, "Say hello.").kickoff()
            return str(Inner().kickoff())

        @listen(first)
        def second(self, answer: str) -> str:
            return f"{answer} Bye."

    Outer().kickoff(inputs={"conversation": "c-1"})
    assert tree(spans.ended) == [
        "invoke_workflow Outer",
        "  first",
        "    invoke_workflow forecast",
        "      task",
        *("        invoke_agent meteorologist", "          chat gpt-4o"),
        "    invoke_workflow Inner",
        "      look",
        *("        invoke_agent meteorologist", "          chat gpt-4o"),
        "  second",
    ]
    # Each ends after what is inside it, with what came out of it.
    assert spans.ended[-1].name == "invoke_workflow Outer"
    assert texts(spans.ended[-1], "gen_ai.output.messages") == "Hi there. Bye."
    assert_session(spans.ended, "c-1")


@pytest.mark.scenario("two turns with memory")
def test_memory_is_searched_in_a_span_and_in_the_session(
    agent: Agent, spans: Spans, models: Models, tmp_path: Any
) -> None:
    def embed(texts: list[str]) -> list[list[float]]:
        return [[1.0, 0.5] for _ in texts]

    memory = Memory(embedder=embed, storage=str(tmp_path / "memory"), llm=agent.llm)
    for _ in range(2):
        tasks = crew_of(agent, "Say hello.").tasks
        Crew(agents=[agent], tasks=tasks, name="forecast", memory=memory).kickoff(inputs("c-1"))
    searches = [span.attributes or {} for span in spans.ended if span.name == "memory"]
    assert [search["pandaprobe.span.kind"] for search in searches] == ["RETRIEVER"] * 2
    assert [json.loads(str(search["pandaprobe.input"])) for search in searches] == ["Say hello."] * 2
    first, second = [str(search["pandaprobe.output"]) for search in searches]
    assert first == "[]"
    assert "A greeting was given." in second
    assert {line for line in tree(spans.ended) if "memory" in line} == {"    memory"}
    # With what the memory itself asks the model.
    assert spans.tokens() == models.served()
    assert_session(spans.ended, "c-1")
    assert {span.status.status_code for span in spans.ended} == {StatusCode.UNSET}


@pytest.mark.scenario("search")
def test_search_in_knowledge_is_a_span_with_the_question_that_a_model_wrote(
    agent: Agent, spans: Spans, models: Models
) -> None:
    config = {"api_key": "none", "api_base": models.openai, "model_name": "text-embedding-3-small"}
    agent.embedder = {"provider": "openai", "config": config}  # type: ignore[typeddict-item]
    agent.knowledge_sources = [StringKnowledgeSource(content="Paris is sunny.")]
    crew_of(agent, "Say hello.").kickoff(inputs("c-1"))
    assert tree(spans.ended) == [
        *CREW_RUN[:2],
        *("    knowledge", "      chat gpt-4o"),
        *("    invoke_agent meteorologist", "      chat gpt-4o"),
    ]
    search = named(spans.ended, "knowledge").attributes or {}
    assert search["pandaprobe.span.kind"] == "RETRIEVER"
    assert json.loads(str(search["pandaprobe.input"])) == "Hi there."
    assert "Paris is sunny." in str(search["pandaprobe.output"])
    assert_session(spans.ended, "c-1")
    assert spans.tokens() == models.served()


@pytest.mark.scenario("human asked")
def test_what_a_human_says_goes_into_the_next_call_of_the_same_turn(
    agent: Agent, spans: Spans, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = iter(["Say hello louder.", ""])
    monkeypatch.setattr("builtins.input", lambda *_: next(says))
    crew_of(agent, "Say hello.", human_input=True).kickoff(inputs("c-1"))
    assert tree(spans.ended) == [*CREW_RUN[:3], *["      chat gpt-4o"] * 2]
    assert len(values(spans, "pandaprobe.trace.id")) == 1
    last = [span for span in spans.ended if span.name == "chat gpt-4o"][-1]
    assert "Say hello louder." in texts(last, "gen_ai.input.messages")
    assert spans.tokens() == models.served()
    assert_session(spans.ended, "c-1")


@pytest.mark.scenario("human asked")
def test_flow_that_waits_for_a_human_goes_on_in_its_session(spans: Spans, adapter: Any) -> None:
    class Later:
        def request_feedback(self, context: Any, flow: Any) -> str:
            raise HumanFeedbackPending(context=context)

    class Review(Flow[Any]):
        @start()
        @human_feedback(message="Is it fine?", provider=Later())
        def draft(self) -> str:
            return "a draft"

        @listen(draft)
        def publish(self, result: Any) -> str:
            return "published"

    waiting: Any = Review().kickoff(inputs={"conversation": "c-1"})
    assert texts(spans.ended[-1], "gen_ai.output.messages") == "Is it fine?"
    assert Review.from_pending(waiting.context.flow_id).resume("yes") == "published"
    lines = ["invoke_workflow Review", "  draft"]
    assert tree(spans.ended) == [*lines, *lines, "  publish"]
    assert texts(spans.ended[-1], "gen_ai.output.messages") == "published"
    assert {span.status.status_code for span in spans.ended} == {StatusCode.UNSET}
    assert_session(spans.ended, "c-1")


@pytest.mark.scenario("stream")
def test_streamed_answer_is_timed(models: Models, spans: Spans, adapter: Any) -> None:
    agent_of(models, spans, stream=True).kickoff("hello")
    call = named(spans.ended, "chat gpt-4o").attributes or {}
    assert 0 < float(str(call["gen_ai.response.time_to_first_chunk"])) < 30
    assert texts(named(spans.ended, "chat gpt-4o"), "gen_ai.output.messages") == "Hi there."


@pytest.mark.scenario("error", "retry")
def test_failures_of_tools_and_models_are_errors(agent: Agent, spans: Spans) -> None:
    crew_of(agent, "This is broken.").kickoff(inputs("c-1"))
    failed = named(spans.ended, "execute_tool fail")
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "no such thing")
    assert spans.ended[-1].status.status_code is StatusCode.UNSET
    before = len(spans.ended)
    with pytest.raises(Exception, match="429"):
        crew_of(agent, "You are limited.").kickoff(inputs("c-2"))
    failed_run = spans.ended[before:]
    # CrewAI tries again by itself.
    assert tree(failed_run) == [*CREW_RUN[:3], *[CREW_RUN[3]] * 3]
    assert {span.status.status_code for span in failed_run} == {StatusCode.ERROR}
    assert_session(failed_run, "c-2")


@pytest.mark.scenario("wrapped client beneath")
def test_instrumented_client_beneath_makes_no_second_span(agent: Agent, spans: Spans) -> None:
    instrumentor = OpenAIInstrumentor()
    instrumentor.instrument(tracer_provider=runtime.tracer_provider())
    try:
        crew_of(agent).kickoff(inputs("c-1"))
    finally:
        instrumentor.uninstrument()
    assert tree(spans.ended) == CREW_RUN


@pytest.mark.scenario("without messages")
def test_messages_are_left_out_where_pandaprobe_says_so(
    agent: Agent, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.active(), "captures_content", False)
    crew_of(agent).kickoff(inputs("c-1"))
    assert tree(spans.ended) == CREW_RUN
    assert not any(
        "Paris" in str(value) for span in spans.ended for value in (span.attributes or {}).values()
    )


def test_uninstrument_leaves_crewai_as_it_was(models: Models, spans: Spans) -> None:
    before = crewai_event_bus.emit
    with CrewAIAdapter():
        assert crewai_event_bus.emit is not before
    assert crewai_event_bus.emit == before
    crew_of(agent_of(models, spans)).kickoff(inputs("c-1"))
    assert tree(spans.ended) == ["lookup"]


@pytest.mark.scenario("cancelled")
async def test_kickoff_that_is_cancelled_ends_and_leaks_nothing_into_the_next(
    models: Models, spans: Spans, adapter: Any
) -> None:
    async def cancelled() -> None:
        kickoff = asyncio.create_task(crew_of(agent_of(models, spans)).akickoff(inputs("c-1")))
        for _ in range(1000):
            # The workflow, its task, the agent and the call.
            if spans.started < 4:
                await asyncio.sleep(0.01)
        kickoff.cancel()
        with pytest.raises(asyncio.CancelledError):
            await kickoff

    await cancelled()
    for _ in range(1000):
        # The call goes on in its thread.
        if not spans.ended:
            await asyncio.sleep(0.01)
    for _ in range(20):
        # What was around it goes with the task.
        if spans.started != len(spans.ended):
            await asyncio.sleep(0.1)
            gc.collect()
    # So far it came before it was cancelled.
    assert tree(spans.ended) == CREW_RUN[: max(4, len(spans.ended))]
    assert_session(spans.ended, "c-1")
    before = len(spans.ended)
    await crew_of(agent_of(models, spans)).akickoff(inputs("c-2"))
    assert tree(spans.ended[before:]) == CREW_RUN
    assert_session(spans.ended[before:], "c-2")


@pytest.mark.scenario("guardrail", "retry")
def test_task_whose_answer_a_guardrail_refuses_is_tried_again_in_one_tree(agent: Agent, spans: Spans) -> None:
    answers: list[str] = []

    def twice(output: Any) -> tuple[bool, Any]:
        answers.append(output.raw)
        return (len(answers) > 1, output.raw)

    crew_of(agent, "Say hello.", guardrail=twice).kickoff(inputs("c-1"))
    assert len(answers) == 2
    attempt = [f"    {AGENT[0]}", "      chat gpt-4o", "    guardrail twice"]
    assert tree(spans.ended) == ["invoke_workflow forecast", "  task", *attempt, *attempt]
    assert_session(spans.ended, "c-1")
    checks = [span.attributes or {} for span in spans.ended if span.name == "guardrail twice"]
    told = [json.loads(str(check["pandaprobe.output"])) for check in checks]
    assert [each["success"] for each in told] == [False, True]
    assert {span.status.status_code for span in spans.ended} == {StatusCode.UNSET}


def test_guardrail_that_asks_a_model_has_the_call_below_it(
    agent: Agent, spans: Spans, models: Models
) -> None:
    crew_of(agent, "Say hello.", guardrail="It is polite.").kickoff(inputs("c-1"))
    assert tree(spans.ended) == [
        "invoke_workflow forecast",
        "  task",
        f"    {AGENT[0]}",
        "      chat gpt-4o",
        "    guardrail llm",
        "      invoke_agent Guardrail Agent",
        "        chat gpt-4o",
    ]
    assert_session(spans.ended, "c-1")
    assert spans.tokens() == models.served()


@pytest.mark.scenario("sub-agent")
def test_agent_that_work_is_delegated_to_is_below_the_tool(
    agent: Agent, spans: Spans, models: Models
) -> None:
    told: Any = {"role": "chief", "goal": "Delegate.", "backstory": "Old."}
    chief = Agent(**told, llm=agent.llm, allow_delegation=True)
    task = Task(description="Please delegate this.", expected_output="One line.", agent=chief)
    Crew(agents=[chief, agent], tasks=[task], name="forecast").kickoff(inputs("c-1"))
    assert tree(spans.ended) == [
        "invoke_workflow forecast",
        "  task",
        "    invoke_agent chief",
        "      chat gpt-4o",
        "      execute_tool delegate_work_to_coworker",
        f"        {AGENT[0]}",
        "          chat gpt-4o",
        "      chat gpt-4o",
    ]
    assert_session(spans.ended, "c-1")
    assert spans.tokens() == models.served()


def test_crew_inside_a_traced_function_is_a_part_of_its_turn(agent: Agent, spans: Spans) -> None:
    @pandaprobe.trace(session_id="mine")
    def support(question: str) -> str:
        return agent.kickoff(question).raw

    assert support("hello") == "Hi there."
    assert tree(spans.ended) == ["support", "  invoke_agent meteorologist", "    chat gpt-4o"]
    assert len(values(spans, "pandaprobe.trace.id")) == 1
    assert_session(spans.ended, "mine")
