from urllib.parse import quote

import pytest
from opentelemetry.trace import Status, StatusCode

from pandaprobe_otel.ids import pandaprobe_trace_id

START_NS = 1_780_000_000_000_000_000
SECOND = 1_000_000_000
MINUTE = "2026-05-28T20:{:02}:40Z"


def attributes(values):
    def value(item):
        if isinstance(item, list):
            return {"arrayValue": {"values": [value(part) for part in item]}}
        return {"stringValue": item} if isinstance(item, str) else {"intValue": item}

    return [{"key": key, "value": value(item)} for key, item in values.items()]


def turn(number, session, seconds=1, **fields):
    """A turn that starts `number` minutes after the first."""
    start = START_NS + number * 60 * SECOND
    values = {"session.id": session} if session else {}
    values |= {key.replace("__", "."): value for key, value in fields.items() if key != "status"}
    return {
        "traceId": f"{number + 1:032x}",
        "spanId": f"{1:016x}",
        "name": f"turn {number}",
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + seconds * SECOND),
        "attributes": attributes({"pandaprobe.trace.id": f"{number + 1:032x}", **values}),
        "status": {"code": fields.get("status", 0)},
    }


def call(number, tokens=0, cost="null"):
    start = START_NS + number * 60 * SECOND
    usage = {
        "gen_ai.usage.input_tokens": tokens,
        "gen_ai.usage.output_tokens": 1,
        "gen_ai.request.model": "m",
    }
    return {
        "traceId": f"{number + 1:032x}",
        "spanId": f"{2:016x}",
        "parentSpanId": f"{1:016x}",
        "name": "chat",
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + SECOND // 2),
        "attributes": attributes({"gen_ai.operation.name": "chat", "pandaprobe.cost": cost, **usage}),
    }


def test_turns_of_the_sdk_are_a_session(api, tracer):
    for number in (1, 2):
        with (
            tracer.start_as_current_span("POST /chat"),
            tracer.start_as_current_span("turn", attributes={"session.id": "c-1", "user.id": "u-1"}) as root,
            tracer.start_as_current_span("chat", attributes={"gen_ai.operation.name": "chat"}) as chat,
        ):
            ids = root.get_span_context()
            turn_id = pandaprobe_trace_id(ids.trace_id, ids.span_id, is_root=False)
            root.set_attribute("pandaprobe.trace.id", turn_id)
            root.set_attribute(
                "pandaprobe.input", f'{{"messages": [{{"role": "user", "content": "{number}"}}]}}'
            )
            chat.set_attribute("gen_ai.usage.input_tokens", 10)
            chat.set_attribute("gen_ai.usage.output_tokens", number)
            chat.set_attribute("gen_ai.response.time_to_first_chunk", 0.25)
            chat.set_status(Status(StatusCode.ERROR, "boom"))
    session = api.session("c-1")
    assert session["trace_count"] == 2
    assert session["total_span_count"] == 2
    assert session["total_tokens"] == 23
    assert session["has_error"] is False
    assert session["user_id"] == "u-1"
    inputs = [trace["input"]["messages"][0]["content"] for trace in session["traces"]]
    assert inputs == ["1", "2"]
    (span,) = session["traces"][0]["spans"]
    assert (span["error"], span["time_to_first_token_ms"]) == ("boom", 250)
    assert session["traces"][0]["metadata"]["otel.ancestors"] == ["POST /chat"]
    (summary,) = api.sessions()["items"]
    assert summary == {key: value for key, value in session.items() if key != "traces"}


def test_session_adds_up_its_traces(api):
    api.post_json(
        turn(0, "c-1", seconds=2, pandaprobe__tags=["b", "a"]),
        call(0, 10, '{"total": 0.5}'),
        turn(1, "c-1", status=2, user__id="u-2", pandaprobe__tags=["a", "c"]),
        call(1, 5, '{"total": 0.25}'),
    )
    assert api.sessions()["items"] == [
        {
            "session_id": "c-1",
            "trace_count": 2,
            "first_trace_at": "2026-05-28T20:26:40.000000+00:00",
            "last_trace_at": "2026-05-28T20:27:41.000000+00:00",
            "total_latency_ms": 3000,
            "has_error": True,
            "user_id": "u-2",
            "tags": ["a", "b", "c"],
            "total_span_count": 2,
            "total_tokens": 17,
            "total_cost": 0.75,
        }
    ]


@pytest.mark.parametrize("session_id", ["a/b", "/", "a b", "ä?&#%", "\N{PANDA FACE}", "sessions/x", "."])
def test_any_session_id_can_be_opened(api, session_id):
    api.post_json(turn(0, session_id))
    assert api.session(quote(session_id, safe=""))["session_id"] == session_id


def test_slash_in_a_session_id_needs_no_escape(api):
    api.post_json(turn(0, "team/a"))
    assert api.session("team/a")["trace_count"] == 1


def test_unknown_ids_are_not_found(api):
    assert api.get("/sessions/none", status=404) == {"detail": "Session 'none' not found."}
    missing = "00000000-0000-0000-0000-000000000009"
    assert api.get(f"/traces/{missing}", status=404) == {"detail": f"Trace {missing} not found."}
    assert api.get("/unknown", status=404) == {"detail": "Not Found"}


def test_trace_is_found_with_and_without_dashes(api):
    api.post_json(turn(0, None), call(0))
    dashed = "00000000-0000-0000-0000-000000000001"
    assert api.trace(dashed) == api.trace(dashed.replace("-", ""))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["c-3", "c-2", "C_1"]),
        ("?sort_order=asc", ["C_1", "c-2", "c-3"]),
        ("?limit=1", ["c-3"]),
        ("?limit=1&offset=2", ["C_1"]),
        ("?offset=3", []),
        ("?user_id=u-1", ["C_1"]),
        ("?has_error=true", ["c-2"]),
        ("?has_error=0", ["c-3", "C_1"]),
        ("?tags=x&tags=y", ["c-3", "C_1"]),
        ("?tags=none", []),
        ("?query=c-", ["c-3", "c-2"]),
        ("?query=C", ["c-3", "c-2", "C_1"]),
        ("?sort_by=trace_count", ["C_1", "c-3", "c-2"]),
        ("?sort_by=latency", ["c-2", "C_1", "c-3"]),
        ("?sort_by=cost", ["c-3", "c-2", "C_1"]),
        (f"?started_after={MINUTE.format(28)}", ["c-3", "c-2"]),
        (f"?started_before={MINUTE.format(28)}", ["C_1"]),
        ("?started_after=1780000120", ["c-3", "c-2"]),
        ("?started_before=2026-05-28T20:28:40", ["C_1"]),
    ],
)
def test_sessions_are_filtered_and_sorted(api, query, found):
    api.post_json(turn(0, "C_1", user__id="u-1", pandaprobe__tags=["x"]), turn(1, "C_1"), turn(5, None))
    api.post_json(turn(2, "c-2", seconds=9, status=2), call(2, 1, '{"total": 1}'))
    api.post_json(turn(3, "c-3", pandaprobe__tags=["y"]), call(3, 1, '{"total": 2}'))
    assert api.session_ids(query) == found


def test_page_says_how_many_there_are(api):
    api.post_json(*(turn(number, f"c-{number}") for number in range(3)))
    page = api.sessions("?limit=2&offset=1")
    assert (page["total"], page["limit"], page["offset"], len(page["items"])) == (3, 2, 1, 2)


def test_session_shows_a_window_of_its_traces_and_sums_of_all(api):
    api.post_json(*(turn(number, "c-1") for number in range(3)))
    session = api.get("/sessions/c-1?limit=1&offset=1", "SessionDetail")
    assert [trace["name"] for trace in session["traces"]] == ["turn 1"]
    assert session["trace_count"] == 3


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["turn 2", "turn 1", "turn 0"]),
        ("?sort_order=asc&limit=2", ["turn 0", "turn 1"]),
        ("?sort_by=latency", ["turn 1", "turn 2", "turn 0"]),
        ("?sort_by=name&sort_order=asc", ["turn 0", "turn 1", "turn 2"]),
        ("?sort_by=status&sort_order=desc&limit=1", ["turn 2"]),
        ("?sort_by=ended_at&limit=1", ["turn 2"]),
        ("?session_id=c%2F1", ["turn 1", "turn 0"]),
        ("?status=ERROR", ["turn 2"]),
        ("?user_id=u-1", ["turn 1"]),
        ("?tags=x", ["turn 0"]),
        ("?name=URN+2", ["turn 2"]),
        (f"?started_after={MINUTE.format(27)}&started_before={MINUTE.format(28)}", ["turn 1"]),
    ],
)
def test_traces_are_filtered_and_sorted(api, query, found):
    api.post_json(
        turn(0, "c/1", pandaprobe__tags=["x"]),
        turn(1, "c/1", seconds=9, user__id="u-1"),
        turn(2, None, seconds=2, status=2),
    )
    assert api.trace_names(query) == found


def test_listed_trace_has_its_sums(api):
    api.post_json(turn(0, "c-1", seconds=2), call(0, 10, '{"total": 0.5}'))
    (item,) = api.traces()["items"]
    assert (item["latency_ms"], item["span_count"], item["total_tokens"], item["total_cost"]) == (
        2000,
        1,
        11,
        0.5,
    )


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/sessions?limit=0", "query -> limit"),
        ("/sessions?limit=201", "query -> limit"),
        ("/sessions?limit=many", "query -> limit"),
        ("/sessions?offset=-1", "query -> offset"),
        (f"/sessions?offset={10**30}", "query -> offset"),
        ("/sessions?has_error=perhaps", "query -> has_error"),
        ("/sessions?started_after=yesterday", "query -> started_after"),
        ("/sessions?started_after=1e300", "query -> started_after"),
        ("/sessions?sort_by=name", "query -> sort_by"),
        ("/sessions?sort_order=up", "query -> sort_order"),
        ("/sessions/c-1?limit=1001", "query -> limit"),
        ("/traces?status=odd", "query -> status"),
        ("/traces?sort_by=cost", "query -> sort_by"),
        ("/traces/no-uuid", "path -> trace_id"),
    ],
)
def test_wrong_parameters_are_answered_as_pandaprobe_does(api, path, field):
    answer = api.get(path, status=422)
    assert answer["detail"] == "Validation error"
    assert [error["field"] for error in answer["errors"]] == [field]
    assert answer["errors"][0]["message"]


def test_empty_server_has_no_sessions(api):
    assert api.sessions() == {"items": [], "total": 0, "limit": 50, "offset": 0}


def test_health_is_told(api):
    assert api.get("/health")["status"] == "healthy"
