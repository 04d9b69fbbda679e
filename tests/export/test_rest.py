"""How the REST wire asks: chunks, pace, limits, waits, and what it settles."""

import gzip
import json
import math
from collections.abc import Iterator

import pytest
from opentelemetry.trace import get_current_span
from pandaprobe_receiver import Client, Courier, Receiver, item

from pandaprobe_otel import runtime
from pandaprobe_otel.export import rest
from pandaprobe_otel.export.mapping.clean import MAX_DEPTH
from pandaprobe_otel.export.spool import Item
from pandaprobe_otel.tracing.trace import start_trace


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client()
    runtime.activate(made)
    yield made
    runtime.activate(None)


def turn(name="turn", spans=1, **options):
    with start_trace(name, session_id="c-1", **options) as trace:
        for number in range(spans):
            with trace.span(f"step {number}"):
                pass
    return trace


def names(trace):
    return {span["name"] for span in trace["spans"].values()}


def steps(count):
    return {f"step {number}" for number in range(count)}


def score(seq, trace_id):
    body = {"trace_id": trace_id, "name": "quality", "value": "0.5", "data_type": "NUMERIC"}
    return Item(seq, "score", json.dumps({**body, "source": "PROGRAMMATIC"}).encode(), 0)


@pytest.mark.parametrize(("count", "more"), [(500, 0), (501, 1), (600, 1), (1300, 2)])
def test_more_than_500_spans_follow_in_chunks(client, count, more):
    courier = Courier(Receiver(lag=2))
    turn(spans=count)
    spans = client.take()
    courier.bring(spans[:300], spans[300:])
    courier.wait(30)
    assert names(courier.receiver.named("turn")) == steps(count)
    assert courier.receiver.paths(202) == ["POST /traces"]
    assert courier.receiver.paths(201) == ["POST /traces/*/spans"] * more
    assert sorted(courier.acked) == [1, 2]


@pytest.mark.parametrize(
    ("said", "stored"),
    [
        ("a\0b", "a\ufffdb"),
        (r"a\u0000b", r"a\u0000b"),
        (r'{"a\u0000": ["\ud800", "\ud83d\udc3c"]}', {"a\ufffd": ["\ufffd", "\N{PANDA FACE}"]}),
        ('{"a": NaN, "b": [1e999, 0.5]}', {"a": None, "b": [None, 0.5]}),
        pytest.param('{"a": 1%s, "b": 2}' % ("0" * 400), {"a": None, "b": 2}, id="beyond a double"),
        (math.nan, None),
        pytest.param("{" * 100_000, "{" * 100_000, id="brackets"),
    ],
)
def test_what_pandaprobe_cannot_store_is_cleaned_alone(client, said, stored):
    courier = Courier(Receiver())
    with start_trace("turn", input="whole") as trace:
        get_current_span().set_attribute("pandaprobe.output", said)
        with trace.span("other"):
            get_current_span().set_attribute("pandaprobe.output", '{"kept": 1.5}')
    courier.bring(client.take())
    found = courier.receiver.named("turn")
    assert (found["input"], found["output"]) == ("whole", stored)
    assert [span["output"] for span in found["spans"].values()] == [{"kept": 1.5}]


def test_json_is_cut_where_it_is_too_deep_to_be_written(client):
    courier = Courier(Receiver())
    with start_trace("turn"):
        get_current_span().set_attribute("pandaprobe.output", '{"a": [' * 300 + "]}" * 300)
    courier.bring(client.take())
    assert f"nested deeper than {MAX_DEPTH} levels" in json.dumps(courier.receiver.named("turn")["output"])


def test_late_spans_wait_for_the_trace_to_be_there(client):
    courier = Courier(Receiver(lag=70))
    turn(spans=2)
    early, late, entry = client.take()
    courier.bring([early, entry], [late])
    courier.wait(120)
    assert names(courier.receiver.named("turn")) == steps(2)
    assert 3 < len(courier.receiver.paths(404)) < 12
    assert courier.aside == []
    assert courier.acked == [1, 2]


def test_spans_of_a_trace_that_never_comes_are_given_up(client):
    courier = Courier(Receiver(lag=10_000))
    turn(spans=2)
    early, late, entry = client.take()
    courier.bring([early, entry], [late])
    courier.wait(500)
    assert courier.aside == []
    courier.wait(500)
    assert courier.aside == [2]
    assert courier.receiver.paths(202) == ["POST /traces"]


def test_a_trace_of_an_earlier_process_is_looked_for_first(client):
    receiver = Receiver(lag=90)
    turn(spans=2)
    early, late, entry = client.take()
    Courier(receiver).bring([early, entry])
    after_crash = Courier(receiver)
    after_crash.bring([late])
    after_crash.wait(300)
    assert names(receiver.named("turn")) == steps(2)
    assert receiver.paths(202) == ["POST /traces"]


def test_items_that_are_sent_again_change_nothing(client):
    receiver = Receiver()
    turn("one", spans=600)
    turn("two")
    spans = client.take()
    items = [item(1, spans[:400]), item(2, spans[400:])]
    Courier(receiver).load(*items)
    before = json.dumps(receiver.stored(), sort_keys=True)
    again = Courier(receiver)
    again.load(*items)
    assert json.dumps(receiver.stored(), sort_keys=True) == before
    assert sorted(again.acked) == [1, 2]


def test_item_that_is_loaded_already_is_not_loaded_again(client):
    courier = Courier()
    turn()
    first, entry = client.take()
    courier.load(item(1, [first]), item(1, [first]))
    courier.load(item(2, [entry, first]))
    assert courier.receiver.paths() == ["POST /traces"]
    assert sorted(courier.acked) == [1, 2]


def test_item_is_done_when_all_its_traces_are(client):
    courier = Courier(Receiver(limit=1))
    turn("one")
    turn("two")
    courier.bring(client.take())
    assert courier.acked == []
    courier.wait(65)
    assert courier.acked == [1]


def test_no_more_traces_than_the_pace_allows(client):
    courier = Courier(Receiver(), pace=10)
    for number in range(35):
        turn(f"turn {number}", spans=0)
    courier.bring(client.take())
    courier.wait(170)
    times = [at for at, *_ in courier.receiver.requests]
    assert courier.receiver.paths(429) == []
    assert times == [0] * 10 + [60] * 10 + [120] * 10
    assert courier.wire.next_at() == 180
    courier.wait(60)
    assert len(courier.receiver.stored()) == 35


def test_pace_holds_up_nothing_but_new_traces(client):
    courier = Courier(Receiver(), pace=1)
    turn("one", spans=2)
    early, late, entry = client.take()
    turn("two")
    courier.bring([early, entry], client.take(), [late])
    assert courier.receiver.paths() == ["POST /traces", "POST /traces/*/spans"]


def test_limit_that_others_have_used_up_is_waited_for(client):
    courier = Courier(Receiver(limit=5))
    for _ in range(7):
        turn()
    courier.bring(client.take())
    courier.wait(70)
    assert len(courier.receiver.stored()) == 7
    assert courier.aside == []
    assert len(courier.receiver.paths(429)) <= 6


def test_quota_stops_new_traces_and_says_what_to_do(client):
    courier = Courier(Receiver(quota=1))
    for _ in range(3):
        turn()
    courier.bring(client.take())
    courier.wait(1300)
    assert len(courier.receiver.paths(429)) == len(courier.problems) == 3
    assert "upgrade the plan" in courier.problems[0]
    assert (courier.acked, courier.aside) == ([], [])
    courier.receiver.quota = 5
    courier.wait(700)
    assert courier.acked == [1]


def test_score_waits_for_its_trace(client):
    courier = Courier(Receiver(lag=20))
    made = turn()
    courier.load(score(7, made.trace_id))
    courier.bring(client.take())
    courier.wait(60)
    assert [each["trace_id"] for each in courier.receiver.scores] == [made.trace_id]
    assert sorted(courier.acked) == [1, 7]


def test_score_of_a_trace_that_never_comes_is_given_up(client):
    courier = Courier()
    courier.load(score(7, "6f2a1b9c-1111-4222-8333-444455556666"))
    courier.wait(500)
    assert courier.aside == []
    courier.wait(400)
    assert courier.aside == [7]


def test_score_goes_after_its_trace(client):
    courier = Courier(pace=1)
    turn()
    made = turn()
    courier.wire.load([item(1, client.take()), score(2, made.trace_id)])
    courier.run()
    assert courier.receiver.paths() == ["POST /traces"]
    courier.wait(61)
    assert courier.receiver.paths() == ["POST /traces", "POST /traces", "POST /evaluations/trace-scores"]


def test_body_that_is_too_large_is_split(client):
    courier = Courier(Receiver(most_bytes=6_000))
    turn(spans=40)
    courier.bring(client.take())
    courier.wait(5)
    assert names(courier.receiver.named("turn")) == steps(40)
    assert courier.acked == [1]


def test_span_that_is_too_large_is_shortened(client):
    courier = Courier(Receiver(most_bytes=6_000))
    with start_trace("turn", session_id="c-1", input="i" * 9_000) as trace, trace.span("step") as span:
        span.set_input("x" * 50_000)
        span.set_metadata({"long": ["y" * 7_000]})
    courier.bring(client.take())
    courier.wait(5)
    stored = courier.receiver.named("turn")
    (span,) = stored["spans"].values()
    assert span["input"].startswith("xxx")
    assert span["input"].endswith("… [50002 bytes]")
    assert span["metadata"]["long"].endswith("… [7004 bytes]")
    assert stored["input"].endswith("… [9002 bytes]")


def test_what_cannot_be_made_smaller_is_given_up(client):
    courier = Courier(Receiver(most_bytes=50))
    turn(spans=0)
    courier.bring(client.take())
    assert courier.aside == [1]
    assert courier.wire.loaded == 0


def test_refused_trace_sets_its_item_aside(client, monkeypatch):
    courier = Courier()
    turn("bad")
    turn("good")
    spans = client.take()
    route = courier.receiver._route
    monkeypatch.setattr(
        courier.receiver, "_route", lambda asked: (422, {}) if b'"bad"' in asked.body else route(asked)
    )
    courier.bring(spans, [])
    assert [trace["name"] for trace in courier.receiver.stored().values()] == ["good"]
    assert (courier.aside, courier.acked) == ([1], [2])
    assert courier.wire._items._open == {}


def test_limits_of_other_paths_are_waited_for(client, monkeypatch):
    courier = Courier()
    turn(spans=2)
    early, late, entry = client.take()
    route = courier.receiver._route
    limited = iter([(429, {"error": "Rate limit exceeded"})])
    monkeypatch.setattr(
        courier.receiver,
        "_route",
        lambda asked: next(limited, None) or route(asked) if asked.path.endswith("/spans") else route(asked),
    )
    courier.bring([early, entry], [late])
    turn("other")
    courier.bring(client.take())
    assert len(courier.receiver.stored()) == 2
    courier.wait(20)
    assert names(courier.receiver.named("turn")) == steps(2)


def test_damaged_item_is_done_with(monkeypatch):
    monkeypatch.setattr(rest, "report", lambda *args: None)
    courier = Courier()
    courier.load(Item(1, "spans", gzip.compress(b"\xff\xff"), 1), Item(2, "spans", b"no gzip", 1))
    courier.load(Item(3, "score", b"no JSON", 0), item(4, []))
    assert courier.acked == [1, 2, 3, 4]


def test_idle_without_a_request_though_a_turn_is_open(client):
    courier = Courier(Receiver(), pace=1)
    turn()
    first, entry = client.take()
    courier.bring([first])
    assert courier.wire.idle
    turn()
    courier.bring([entry], client.take())
    assert not courier.wire.idle
    courier.wait(61)
    assert courier.wire.idle


def test_refused_item_is_set_aside_when_its_other_traces_have_arrived(client, monkeypatch):
    courier = Courier(pace=1)
    for name in ("good", "bad", "late"):
        turn(name)
    route = courier.receiver._route
    monkeypatch.setattr(
        courier.receiver, "_route", lambda asked: (422, {}) if b'"bad"' in asked.body else route(asked)
    )
    courier.bring(client.take())
    courier.wait(30)
    assert (courier.acked, courier.aside) == ([], []), "the process may end before the last one is sent"
    courier.wait(40)
    assert sorted(trace["name"] for trace in courier.receiver.stored().values()) == ["good", "late"]
    assert (courier.acked, courier.aside) == ([], [1])
