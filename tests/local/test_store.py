import gc
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from pandaprobe_otel.export.mapping import SpanEvent, SpanRecord
from pandaprobe_otel.local import queries
from pandaprobe_otel.local.store import FILE_NAME, Store

ROOT = SpanRecord(
    trace_id=1,
    span_id=1,
    parent_span_id=None,
    name="turn",
    start_ns=1_780_000_000_000_000_000,
    end_ns=1_780_000_001_000_000_000,
    attributes={
        "pandaprobe.trace.id": f"{1:032x}",
        "session.id": "c-1",
        "odd": float("nan"),
        "text": "\ud800",
    },
    events=[SpanEvent("exception", 5, {"exception.message": "m"})],
)
CHILD = replace(ROOT, span_id=2, parent_span_id=1, name="chat", attributes={"gen_ai.operation.name": "chat"})
ALL = queries.Page(limit=200, offset=0, order=queries.TRACE_ORDERS["started_at"], direction="ASC")


@pytest.fixture
def store(tmp_path):
    with closing(Store(tmp_path / "deep" / "data")) as opened:
        yield opened


def traces(store):
    found = queries.list_traces(store, queries.Filter(), ALL)["items"]
    return {item["name"]: queries.get_trace(store, item["trace_id"]) for item in found}


def dump(store):
    with store.reading() as connection:
        return {
            table: [tuple(row) for row in connection.execute(f"SELECT * FROM {table}")]
            for table in ("otel_spans", "traces", "spans")
        }


def test_late_span_joins_its_trace(store):
    store.ingest([ROOT])
    assert traces(store)["turn"]["spans"] == []
    store.ingest([CHILD])
    (span,) = traces(store)["turn"]["spans"]
    assert span["name"] == "chat"


def test_late_parent_takes_the_place_of_its_children(store):
    store.ingest([CHILD])
    assert list(traces(store)) == ["chat"]
    store.ingest([ROOT])
    assert list(traces(store)) == ["turn"]
    assert len(dump(store)["traces"]) == len(dump(store)["spans"]) == 1


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_turn_in_several_otel_traces_is_one_trace(store, order):
    turn = ROOT.attributes["pandaprobe.trace.id"]
    attributes = {"pandaprobe.trace.id": turn, "session.id": "c-1", "gen_ai.operation.name": "chat"}
    apart = replace(CHILD, trace_id=9, parent_span_id=None, name="apart", attributes=attributes)
    spans = [ROOT, CHILD, apart]
    for position in order:
        store.ingest([spans[position]])
    (trace,) = traces(store).values()
    assert (trace["name"], {span["name"] for span in trace["spans"]}) == ("turn", {"chat", "apart"})
    store.ingest([replace(apart, name="apart again")])
    (trace,) = traces(store).values()
    assert {span["name"] for span in trace["spans"]} == {"chat", "apart again"}


def test_second_delivery_changes_nothing(store):
    store.ingest([ROOT, CHILD])
    before = dump(store)
    store.ingest([CHILD, ROOT])
    assert dump(store) == before


def test_changed_span_replaces_the_older_one(store):
    store.ingest([ROOT, CHILD])
    store.ingest([replace(CHILD, name="chat again")])
    assert [span["name"] for span in traces(store)["turn"]["spans"]] == ["chat again"]


def test_mapping_again_leaves_the_age_of_a_trace(store):
    store.ingest([ROOT])
    created = "SELECT created_at FROM traces"
    with store.reading() as connection:
        before = connection.execute(created).fetchone()[0]
    store.ingest([CHILD])
    with store.reading() as connection:
        assert connection.execute(created).fetchone()[0] == before


def test_other_traces_are_left_alone(store):
    other = replace(ROOT, trace_id=2, name="other", attributes={"pandaprobe.trace.id": f"{2:032x}"})
    store.ingest([ROOT, CHILD, other])
    store.ingest([replace(CHILD, span_id=3)])
    assert {name: len(trace["spans"]) for name, trace in traces(store).items()} == {"turn": 2, "other": 0}


def test_data_outlives_the_store(tmp_path):
    with closing(Store(tmp_path)) as store:
        store.ingest([ROOT, CHILD])
        before = dump(store)
    with closing(Store(tmp_path)) as store:
        assert dump(store) == before
        store.ingest([replace(CHILD, span_id=3)])
        assert len(traces(store)["turn"]["spans"]) == 2


def test_failed_ingest_keeps_nothing(store):
    with store.reading() as connection:
        connection.execute("SELECT 1")
    store._writer.execute(
        "CREATE TRIGGER full BEFORE INSERT ON spans BEGIN SELECT RAISE(FAIL, 'disk full'); END"
    )
    with pytest.raises(sqlite3.Error):
        store.ingest([ROOT, CHILD])
    assert dump(store) == {"otel_spans": [], "traces": [], "spans": []}


def test_directory_is_private(tmp_path):
    with closing(Store(tmp_path / "data")):
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_file_of_another_version_is_refused(tmp_path):
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(OSError, match="another version"):
        Store(tmp_path)


def test_file_of_something_else_is_refused(tmp_path):
    (tmp_path / FILE_NAME).write_bytes(b"no database" * 1000)
    with pytest.raises(OSError, match="cannot be used"):
        Store(tmp_path)
    # Python 3.13 warns of a connection that was left open.
    gc.collect()
