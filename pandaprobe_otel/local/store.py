"""The spans and the PandaProbe traces made of them, in one SQLite file.

Spans are kept as they came, so that one that comes late is merged: its whole OTel trace is mapped again.
"""

import json
import sqlite3
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from queue import Empty, LifoQueue
from threading import Lock
from typing import Any

from ..export.mapping import SpanEvent, SpanRecord, to_traces
from ..export.mapping.kinds import turn_of
from .rows import span_row, trace_row

FILE_NAME = "pandaprobe.db"
_BUSY_SECONDS = 5
_VERSION = 2
_SCHEMA = f"""
PRAGMA user_version = {_VERSION};
CREATE TABLE otel_spans (
    trace_id TEXT NOT NULL,
    span_id TEXT NOT NULL,
    turn TEXT,
    record TEXT NOT NULL,
    PRIMARY KEY (trace_id, span_id)
) WITHOUT ROWID;
CREATE INDEX spans_of_turn ON otel_spans (turn) WHERE turn IS NOT NULL;
CREATE TABLE traces (
    trace_id TEXT PRIMARY KEY,
    otel_trace_id TEXT NOT NULL,
    session_id TEXT,
    user_id TEXT,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    tags TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    span_count INTEGER NOT NULL,
    total_tokens INTEGER NOT NULL,
    total_cost REAL NOT NULL,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX traces_of_otel_trace ON traces (otel_trace_id);
CREATE INDEX traces_of_session ON traces (session_id, started_at);
CREATE INDEX traces_by_start ON traces (started_at);
CREATE TABLE spans (
    span_id TEXT PRIMARY KEY,
    trace_id TEXT NOT NULL REFERENCES traces ON DELETE CASCADE,
    position INTEGER NOT NULL,
    body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX spans_of_trace ON spans (trace_id, position);
"""


class Store:
    """Keeps spans and answers queries; for any number of threads.

    Args:
        directory: Where the file is; made when it is not there.

    Raises:
        OSError: The directory cannot be made, or the file in it cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        # Prompts and answers are nobody else's business.
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = directory / FILE_NAME
        self._writing = Lock()
        self._idle: LifoQueue[sqlite3.Connection] = LifoQueue()
        try:
            with ExitStack() as undo:
                self._writer = self._connect()
                undo.callback(self._writer.close)
                self._prepare()
                undo.pop_all()
        except sqlite3.Error as error:
            raise OSError(f"{self._file} cannot be used: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._file, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _prepare(self) -> None:
        self._writer.execute("PRAGMA journal_mode = WAL")
        with _transaction(self._writer, "IMMEDIATE"):
            (version,) = self._writer.execute("PRAGMA user_version").fetchone()
            if version not in (0, _VERSION):
                raise sqlite3.DatabaseError("another version of pandaprobe-otel made it")
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    self._writer.execute(statement)

    def ingest(self, records: Iterable[SpanRecord]) -> None:
        """Keeps spans, and maps the OTel traces again that they change.

        Raises:
            sqlite3.Error: Nothing of this was kept.
        """
        with self._writing, _transaction(self._writer, "IMMEDIATE"):
            changed = {_hex(record.trace_id) for record in records if self._keep(record)}
            while changed:
                related = self._related(changed.pop())
                changed -= related
                self._replace_traces(related)

    def _keep(self, record: SpanRecord) -> bool:
        kept = self._writer.execute(
            "INSERT INTO otel_spans VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET turn = excluded.turn, record = excluded.record WHERE record <> excluded.record",
            (_hex(record.trace_id), f"{record.span_id:016x}", turn_of(record), _dumps(asdict(record))),
        )
        return kept.rowcount > 0

    def _related(self, otel_trace_id: str) -> set[str]:
        """The OTel traces that have turns in common with this one, and itself."""
        found, waiting = {otel_trace_id}, [otel_trace_id]
        while waiting:
            rows = self._writer.execute(
                "SELECT DISTINCT trace_id FROM otel_spans WHERE turn IN"
                " (SELECT turn FROM otel_spans WHERE trace_id = ? AND turn IS NOT NULL)",
                (waiting.pop(),),
            )
            new = {row["trace_id"] for row in rows} - found
            found |= new
            waiting += new
        return found

    def _replace_traces(self, otel_trace_ids: set[str]) -> None:
        ids = tuple(otel_trace_ids)
        among = f"({', '.join('?' * len(ids))})"
        records = self._writer.execute(f"SELECT record FROM otel_spans WHERE trace_id IN {among}", ids)
        bodies = to_traces([_record(json.loads(row["record"])) for row in records])
        created = dict(
            self._writer.execute(
                f"SELECT trace_id, created_at FROM traces WHERE otel_trace_id IN {among}", ids
            ).fetchall()
        )
        self._writer.execute(f"DELETE FROM traces WHERE otel_trace_id IN {among}", ids)
        now = time.time_ns()
        for body in bodies:
            row = trace_row(body)
            row["otel_trace_id"] = body["metadata"]["otel.trace_id"]
            row["created_at"] = created.get(body["trace_id"], now)
            self._insert("traces", row)
            for position, span in enumerate(body["spans"]):
                self._insert("spans", {**span_row(body["trace_id"], span), "position": position})

    def _insert(self, table: str, row: Mapping[str, Any]) -> None:
        places = ", ".join("?" * len(row))
        self._writer.execute(
            f"INSERT OR REPLACE INTO {table} ({', '.join(row)}) VALUES ({places})", tuple(row.values())
        )

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        """A connection that sees one state of the data, whatever is written meanwhile."""
        try:
            connection = self._idle.get_nowait()
        except Empty:
            connection = self._connect()
        try:
            with _transaction(connection, "DEFERRED"):
                yield connection
        finally:
            self._idle.put(connection)

    def close(self) -> None:
        """Closes the file."""
        with self._writing:
            self._writer.close()
        while not self._idle.empty():
            self._idle.get_nowait().close()


@contextmanager
def _transaction(connection: sqlite3.Connection, mode: str) -> Generator[None, None, None]:
    connection.execute(f"BEGIN {mode}")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _hex(trace_id: int) -> str:
    return f"{trace_id:032x}"


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _record(kept: dict[str, Any]) -> SpanRecord:
    events: Sequence[Mapping[str, Any]] = kept.pop("events")
    return SpanRecord(**kept, events=[SpanEvent(**event) for event in events])
