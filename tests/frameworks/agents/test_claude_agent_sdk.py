"""What `ClaudeAgentSDKAdapter` promises, with the real SDK and a program in place of Claude Code's."""

import asyncio
import importlib
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, CLINotFoundError, ResultMessage, query
from claude_agent_sdk._internal.client import InternalClient
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode
from pandaprobe_receiver import Courier
from span_tree import named, tree

import pandaprobe_otel as pandaprobe
from pandaprobe_otel import runtime
from pandaprobe_otel.integrations import claude_agent_sdk
from pandaprobe_otel.integrations.claude_agent_sdk import ClaudeAgentSDKAdapter
from pandaprobe_otel.testing import assert_session

from ..conftest import Spans

FRAMEWORK = "Claude Agent SDK"

CHAT = "  chat claude-sonnet-5"
LISTING = ["invoke_agent claude", CHAT, "  execute_tool Bash", CHAT]
HELLO = ["invoke_agent claude", CHAT]


@pytest.fixture(autouse=True)
def adapter(spans: Spans) -> Iterator[ClaudeAgentSDKAdapter]:
    with ClaudeAgentSDKAdapter() as adapter:
        yield adapter


def options(**more: Any) -> ClaudeAgentOptions:
    return ClaudeAgentOptions(cli_path=Path(__file__).with_name("claude_cli.py"), **more)


async def ask(prompt: Any, **more: Any) -> str:
    """Asks once; Claude Code's session."""
    (session_id,) = {
        message.session_id
        async for message in query(prompt=prompt, options=options(**more))
        if isinstance(message, ResultMessage)
    }
    return session_id


def texts(span: ReadableSpan, key: str) -> list[str]:
    messages = json.loads(str((span.attributes or {}).get(key, "[]")))
    return [str(part.get("content", part["type"])) for message in messages for part in message["parts"]]


def values(spans: Spans, key: str) -> set[Any]:
    return {(span.attributes or {}).get(key) for span in spans.ended}


@pytest.mark.scenario("tool")
async def test_turn_is_one_tree_in_claude_codes_session(spans: Spans) -> None:
    session_id = await ask("list the files")
    assert tree(spans.ended) == LISTING
    assert_session(spans.ended, session_id)
    assert len(values(spans, "pandaprobe.trace.id")) == 1
    assert {span.status.status_code for span in spans.ended} == {StatusCode.UNSET}
    turn = named(spans.ended, "invoke_agent claude")
    assert (turn.attributes or {})["gen_ai.conversation.id"] == session_id
    assert texts(turn, "gen_ai.input.messages") == ["list the files"]
    assert texts(turn, "gen_ai.output.messages") == ["There is a README.md."]


async def test_model_calls_and_tools_say_what_was_asked_and_answered(spans: Spans) -> None:
    await ask("list the files")
    first, last = [span for span in spans.ended if span.name == CHAT.strip()]
    assert texts(first, "gen_ai.input.messages") == ["list the files"]
    assert texts(first, "gen_ai.output.messages") == ["A shell.", "tool_call"]
    assert texts(last, "gen_ai.input.messages")[-2:] == ["tool_call", "tool_call_response"]
    assert texts(last, "gen_ai.output.messages") == ["There is a README.md."]
    # With what was read from the cache.
    assert spans.tokens() == (100 + 120, 3 + 7)
    tool = named(spans.ended, "execute_tool Bash")
    assert json.loads(str((tool.attributes or {})["gen_ai.tool.call.arguments"])) == {"command": "ls"}
    assert (tool.attributes or {})["gen_ai.tool.call.result"] == "README.md"
    assert first.start_time <= tool.start_time <= tool.end_time <= last.start_time <= last.end_time  # type: ignore[operator]


@pytest.mark.scenario("sub-agent")
async def test_sub_agent_is_below_the_tool_that_starts_it(spans: Spans) -> None:
    await ask("delegate this")
    assert tree(spans.ended) == [
        "invoke_agent claude",
        CHAT,
        "  execute_tool Task",
        f"  {CHAT}",
        "    execute_tool Bash",
        f"  {CHAT}",
        CHAT,
    ]
    failed = named(spans.ended, "execute_tool Bash")
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "no such file")
    assert named(spans.ended, "execute_tool Task").status.status_code is StatusCode.UNSET
    inside = next(span for span in spans.ended if texts(span, "gen_ai.input.messages") == ["count"])
    assert inside.name == CHAT.strip()


@pytest.mark.scenario("every source of the session")
async def test_session_that_is_named_is_stronger(spans: Spans) -> None:
    with pandaprobe.session("block"):
        session_id = await ask("hello")
    assert_session(spans.ended, "block")
    assert session_id in values(spans, "gen_ai.conversation.id")
    labels: Any = {"user_id": "u-1", "tags": ["beta"], "metadata": {"plan": "free"}}
    ClaudeAgentSDKAdapter(session_id="explicit", **labels).instrument()
    with pandaprobe.session("block"):
        await ask("hello")
    assert_session(spans.ended[2:], "explicit")
    assert (spans.ended[-1].attributes or {})["pandaprobe.tags"] == ("beta",)
    assert (spans.ended[-1].attributes or {})["pandaprobe.metadata"] == '{"plan": "free"}'
    assert (spans.ended[-1].attributes or {})["user.id"] == "u-1"


async def test_session_in_the_options_holds_from_the_start(spans: Spans) -> None:
    wanted = str(uuid.uuid4())
    assert await ask("hello", session_id=wanted) == wanted
    assert_session(spans.ended, wanted)


@pytest.mark.scenario("conversations at once")
async def test_turns_at_the_same_time_stay_apart(spans: Spans) -> None:
    sessions = await asyncio.gather(*(ask("list the files") for _ in range(4)))
    assert len(set(sessions)) == 4
    for session_id in sessions:
        own = [span for span in spans.ended if (span.attributes or {})["session.id"] == session_id]
        assert tree(own) == LISTING


@pytest.mark.scenario("two turns with memory")
async def test_turns_of_a_client_are_traces_of_one_session(spans: Spans) -> None:
    async with ClaudeSDKClient(options()) as client:
        for prompt in ("list the files", "hello"):
            await client.query(prompt)
            async for _ in client.receive_response():
                assert pandaprobe.current_session() is None
    assert tree(spans.ended) == [*LISTING, *HELLO]
    assert len(values(spans, "session.id")) == 1
    assert None not in values(spans, "session.id")
    assert len(values(spans, "pandaprobe.trace.id")) == 2


async def test_prompts_that_wait_are_turns_too(spans: Spans) -> None:
    async with ClaudeSDKClient(options()) as client:
        await client.query("list the files")
        await client.query("hello")
        for _ in range(2):
            async for _ in client.receive_response():
                pass
    assert tree(spans.ended) == [*LISTING, *HELLO]
    asked = [span for span in spans.ended if span.name == HELLO[0]]
    assert [texts(span, "gen_ai.input.messages") for span in asked] == [["list the files"], ["hello"]]


async def test_prompts_from_an_iterable_are_turns(spans: Spans) -> None:
    async def prompts() -> AsyncIterator[dict[str, Any]]:
        for prompt in ("hello", "list the files"):
            yield {"type": "user", "message": {"role": "user", "content": prompt}, "parent_tool_use_id": None}

    await ask(prompts())
    assert tree(spans.ended) == [*HELLO, *LISTING]


async def ended(spans: Spans) -> None:
    """Waits for the end of a generator that nobody reads on, which the event loop closes a little later."""
    for _ in range(500):
        if spans.started == len(spans.ended):
            return
        await asyncio.sleep(0.01)


@pytest.mark.scenario("left by its consumer")
async def test_query_that_is_broken_off_leaves_nothing_open(spans: Spans) -> None:
    async for _ in query(prompt="list the files", options=options()):
        break
    await ended(spans)
    assert named(spans.ended, "invoke_agent claude").status.status_code is StatusCode.UNSET


@pytest.mark.scenario("cancelled")
async def test_turn_that_is_cancelled_leaks_nothing_into_the_next(spans: Spans) -> None:
    async def stopped() -> None:
        async for _ in query(prompt="list the files", options=options()):
            await asyncio.sleep(60)

    turn = asyncio.create_task(stopped())
    for _ in range(1000):
        if not spans.started:
            await asyncio.sleep(0.01)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    await ended(spans)
    before = len(spans.ended)
    session_id = await ask("hello")
    assert tree(spans.ended[before:]) == HELLO
    assert_session(spans.ended[before:], session_id)


async def test_client_that_is_left_leaves_nothing_open(spans: Spans) -> None:
    async with ClaudeSDKClient(options()) as client:
        await client.query("list the files")
    assert tree(spans.ended) == ["invoke_agent claude"]


@pytest.mark.scenario("error")
async def test_failure_of_the_turn_is_an_error(spans: Spans) -> None:
    await ask("fail")
    turn = named(spans.ended, "invoke_agent claude")
    assert turn.status.status_code is StatusCode.ERROR
    assert (turn.attributes or {})["error.type"] == "error_during_execution"


async def test_call_that_the_api_refuses_is_an_error_of_its_model(spans: Spans) -> None:
    await ask("refuse")
    assert tree(spans.ended) == LISTING
    turn, first, _, last = sorted(spans.ended, key=lambda span: span.start_time or 0)
    statuses = [span.status.status_code for span in (turn, first, last)]
    assert statuses == [StatusCode.ERROR, StatusCode.UNSET, StatusCode.ERROR]
    assert last.status.description == "rate_limit"
    assert ((turn.attributes or {})["error.type"], turn.status.description) == ("api_error", "API Error: 429")


async def test_what_claude_code_says_itself_is_no_call_of_a_model(spans: Spans) -> None:
    await ask("/clear")
    assert tree(spans.ended) == HELLO[:1]
    assert texts(spans.ended[0], "gen_ai.output.messages") == ["Done."]


async def test_claude_code_that_does_not_start_is_an_error(spans: Spans) -> None:
    with pytest.raises(CLINotFoundError):
        await anext(aiter(query(prompt="hello", options=ClaudeAgentOptions(cli_path="/no/such/program"))))
    turn = named(spans.ended, "invoke_agent claude")
    assert turn.status.status_code is StatusCode.ERROR
    assert (turn.attributes or {})["error.type"] == "claude_agent_sdk._errors.CLINotFoundError"


@pytest.mark.scenario("inside a trace")
async def test_turn_inside_a_trace_is_part_of_it(spans: Spans) -> None:
    with pandaprobe.start_trace("request", session_id="mine"):
        await ask("hello")
    assert tree(spans.ended) == ["request", *(f"  {line}" for line in HELLO)]
    assert_session(spans.ended, "mine")
    assert len(values(spans, "pandaprobe.trace.id")) == 1


@pytest.mark.scenario("what REST gets")
async def test_pandaprobe_gets_the_turn_with_its_steps(spans: Spans) -> None:
    session_id = await ask("list the files")
    courier = Courier()
    courier.bring(spans.ended)
    courier.wait(60)
    turn = courier.receiver.named("invoke_agent claude")
    assert (turn["session_id"], turn["status"]) == (session_id, "COMPLETED")
    assert turn["input"]["messages"] == [{"role": "user", "content": "list the files"}]
    assert turn["output"]["messages"][0]["content"] == "There is a README.md."
    steps = sorted(turn["spans"].values(), key=lambda step: step["started_at"])
    assert [step["kind"] for step in steps] == ["LLM", "TOOL", "LLM"]
    assert sum(step["token_usage"]["prompt_tokens"] for step in steps if step["token_usage"]) == 220


@pytest.mark.scenario("without messages")
async def test_messages_are_left_out_where_pandaprobe_says_so(
    spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime.active(), "captures_content", False)
    await ask("list the files")
    assert tree(spans.ended) == LISTING
    told = [str(value) for span in spans.ended for value in (span.attributes or {}).values()]
    assert not any("README" in text or "files" in text for text in told)


async def test_uninstrument_leaves_the_sdk_as_it_was(adapter: ClaudeAgentSDKAdapter, spans: Spans) -> None:
    adapter.uninstrument()
    before = InternalClient.process_query, ClaudeSDKClient.query
    with ClaudeAgentSDKAdapter():
        assert InternalClient.process_query is not before[0]
    assert (InternalClient.process_query, ClaudeSDKClient.query) == before
    await ask("hello")
    assert spans.ended == []


@pytest.mark.parametrize(
    ("module", "name"), [(m, n) for m, names in claude_agent_sdk.UNDOCUMENTED.items() for n in names]
)
def test_undocumented_names_are_there(module: str, name: str) -> None:
    assert reduce(getattr, name.split("."), importlib.import_module(module)) is not None
