import json

import pytest


def usage(prompt, completion):
    return {"gen_ai.usage.input_tokens": prompt, "gen_ai.usage.output_tokens": completion}


def counted(trace):
    return {
        span["name"]: span["token_usage"]["total_tokens"] if span["token_usage"] else None
        for span in trace["spans"]
    }


def test_counts_have_the_names_of_pandaprobe(span_of):
    span = span_of(
        {
            **usage(10, 5),
            "gen_ai.usage.reasoning.output_tokens": 3,
            "gen_ai.usage.cache_read.input_tokens": 2,
            "gen_ai.usage.cache_write.input_tokens": 1,
        }
    )
    assert span["token_usage"] == {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "reasoning_tokens": 3,
        "cache_read_tokens": 2,
        "cache_creation_tokens": 1,
        "total_tokens": 15,
    }
    assert not [key for key in span["metadata"] if "usage" in key]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"gen_ai.usage.prompt_tokens": 1, "gen_ai.usage.completion_tokens": 2}, (1, 2, None)),
        (
            {"llm.token_count.prompt": 1, "llm.token_count.completion": 2, "llm.token_count.total": 3},
            (1, 2, None),
        ),
        (
            {**usage(1, 2), "gen_ai.usage.prompt_tokens": 9, "gen_ai.usage.cache_creation.input_tokens": 4},
            (1, 2, 4),
        ),
    ],
)
def test_older_and_foreign_spellings_are_read(span_of, attributes, expected):
    found = span_of(attributes)["token_usage"]
    assert (
        found["prompt_tokens"],
        found["completion_tokens"],
        found.get("cache_creation_tokens"),
    ) == expected
    assert found["total_tokens"] == 3


def test_explicit_usage_is_merged_in(span_of):
    span = span_of(
        {**usage(1, 2), "pandaprobe.token_usage": json.dumps({"completion_tokens": 5, "audio_tokens": 7})}
    )
    assert span["token_usage"] == {
        "prompt_tokens": 1,
        "completion_tokens": 5,
        "audio_tokens": 7,
        "total_tokens": 6,
    }


@pytest.mark.parametrize(
    ("value", "count"), [(1.9, 1), ("12", 12), (-3, 0), (3e9, 2**31 - 1), (10**30, 2**31 - 1), (False, None)]
)
def test_counts_are_non_negative_int32(span_of, value, count):
    found = span_of({"gen_ai.usage.input_tokens": value})["token_usage"]
    assert found == (None if count is None else {"prompt_tokens": count})


@pytest.mark.parametrize("value", ["many", float("nan"), float("inf"), True, [1], None])
def test_what_is_no_count_is_kept_as_metadata(span_of, value):
    span = span_of({"gen_ai.usage.input_tokens": value})
    assert span["token_usage"] is None
    assert "gen_ai.usage.input_tokens" in span["metadata"]


def test_usage_of_an_agent_is_not_counted_again(spans):
    agent = spans.add("agent", spans.entry("turn"), {"gen_ai.operation.name": "invoke_agent", **usage(30, 3)})
    retry = spans.add("retry", agent)
    spans.llm("chat 1", retry, usage(10, 1))
    spans.llm("chat 2", agent, usage(20, 2))
    trace = spans.trace()
    assert counted(trace) == {"agent": None, "retry": None, "chat 1": 11, "chat 2": 22}
    assert trace["spans"][0]["metadata"]["pandaprobe.uncounted"]["token_usage"]["total_tokens"] == 33


def test_usage_of_an_agent_counts_when_no_model_call_has_any(spans):
    agent = spans.add("agent", spans.entry("turn"), {"gen_ai.operation.name": "invoke_agent", **usage(30, 3)})
    spans.llm("chat", agent)
    spans.add("embed", agent, {"gen_ai.operation.name": "embeddings", **usage(4, 0)})
    assert counted(spans.trace()) == {"agent": 33, "chat": None, "embed": 4}


def test_one_call_seen_by_two_instrumentations_counts_once(spans):
    outer = spans.llm("outer", spans.entry("turn"), usage(10, 1))
    spans.llm("inner", outer, usage(10, 1))
    assert counted(spans.trace()) == {"outer": None, "inner": 11}


def test_model_call_inside_a_tool_of_another_counts_too(spans):
    outer = spans.llm("outer", spans.entry("turn"), usage(10, 1))
    tool = spans.add("tool", outer, {"gen_ai.operation.name": "execute_tool"})
    spans.llm("inner", tool, usage(20, 2))
    assert counted(spans.trace()) == {"outer": 11, "tool": None, "inner": 22}


def test_nested_traces_count_apart(spans):
    outer = spans.entry("outer")
    agent = spans.add("agent", outer, {"gen_ai.operation.name": "invoke_agent", **usage(1, 1)})
    spans.llm("chat", spans.entry("inner", agent), usage(5, 5))
    assert [counted(trace) for trace in spans.traces()] == [{"agent": 2}, {"chat": 10}]


@pytest.mark.parametrize(
    ("attributes", "cost"),
    [
        ({"pandaprobe.cost": '{"total": 0.5, "cached": 0}'}, {"total": 0.5, "cached": 0.0}),
        ({"pandaprobe.cost": '{"total": "0.5", "bad": "x", "huge": 1e300}'}, {"total": 0.5}),
        ({"pandaprobe.cost": 0.5}, {"total": 0.5}),
        ({"llm.cost.total": 0.5, "llm.cost.prompt": 0.2}, {"total": 0.5, "prompt": 0.2}),
        ({}, None),
    ],
)
def test_cost_is_numbers(span_of, attributes, cost):
    assert span_of(attributes)["cost"] == cost


def test_cost_of_an_agent_is_not_counted_again(spans):
    agent = spans.add("agent", spans.entry("turn"), {"pandaprobe.span.kind": "AGENT", "pandaprobe.cost": "3"})
    spans.llm("chat", agent, {"pandaprobe.cost": '{"total": 3}'})
    assert [span["cost"] for span in spans.trace()["spans"]] == [None, {"total": 3.0}]
