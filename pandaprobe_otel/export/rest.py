"""The REST wire: spans as PandaProbe traces, `POST {endpoint}/traces`."""

import gzip
import json
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, cast

import urllib3
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ..guard import report
from .assembly import Assembly
from .mapping.clean import clean_json
from .mapping.decoding import records_of
from .mapping.record import SpanRecord
from .rows import TRACES, Call, Rows
from .spool import Item
from .wire import JSON_HEADERS, SCORES, Ledger, Outcome, Request, Settled, Verdict, outcome_of, retry_after

# Seconds. PandaProbe counts requests in windows of a minute, and does not say when one began.
_WINDOW, _LIMITED_WAIT = 60.0, 15.0
# A plan's quota is for a month, until somebody changes the plan.
_QUOTA_WAIT = 600.0
_QUOTA = (
    "the quota of PandaProbe's plan is used up; upgrade the plan or wait for its next period. Spans are kept"
    " until then"
)
# A trace is there some time after it was taken. With waits of 1, 2, 4, 8 and then 16 seconds these are ten
# minutes.
_MOST_MISSES, _LONGEST_WAIT_AT = 40, 5
# What is left of a value of a span that is too large by itself.
_KEPT_CHARACTERS = 1024


class RestWire:
    """Sends every turn as a PandaProbe trace.

    Args:
        partial_after: After so many seconds a turn that has not ended is sent as far as it is known.
        pace: How many traces are posted in a minute at most.
        open_entry: Gives the entry of a turn while it is open in this process.
    """

    name = "REST"

    def __init__(
        self,
        *,
        partial_after: float = 60.0,
        pace: int = 100,
        open_entry: Callable[[str], SpanRecord | None] = lambda trace_id: None,
    ) -> None:
        self._pace = pace
        self._assembly = Assembly(partial_after, open_entry)
        self._rows = Rows(partial_after)
        self._arrived: list[tuple[SpanRecord, int]] = []
        # The requests of one trace go one after the other.
        self._lanes: dict[str, deque[Request]] = {}
        self._queued = 0
        self._items = Ledger()
        self._posted: deque[float] = deque()
        self._closed_until: dict[str, float] = {}
        self._now = 0.0

    @property
    def loaded(self) -> int:
        return len(self._arrived) + self._assembly.waiting + self._queued

    @property
    def idle(self) -> bool:
        return not self._lanes and not self._arrived

    def load(self, items: Sequence[Item]) -> None:
        for item in items:
            if item.seq in self._items:
                continue
            try:
                if item.kind == "score":
                    self._load_score(item)
                else:
                    self._load_spans(item)
            except Exception as error:
                # It would be no better the next time.
                report("reading the spool", error)
                self._items.add(item.seq, 0)

    def next(self, now: float, *, final: bool) -> Request | None:
        self._now = now
        for record, seq in self._arrived:
            self._assembly.add(record, seq, now)
        self._arrived.clear()
        for portion in self._assembly.ready(now, final=final):
            for call in self._rows.calls(portion):
                request = _request(call)
                self._queued += request.spans
                self._lanes.setdefault(call.trace_id, deque()).append(request)
        self._items.close(self._assembly.take_done())
        while self._posted and self._posted[0] + _WINDOW <= now:
            self._posted.popleft()
        ready = (lane[0] for lane in self._lanes.values() if self._opens_at(lane[0]) <= now)
        return next((request for request in ready if not self._is_early(request)), None)

    def next_at(self) -> float | None:
        waiting = self._assembly.next_at()
        times = [] if waiting is None else [waiting]
        times += [self._opens_at(lane[0]) for lane in self._lanes.values() if not self._is_early(lane[0])]
        return min(times, default=None)

    def delivered(self, request: Request, response: urllib3.BaseHTTPResponse) -> Settled:
        if _posts_trace(request):
            self._posted.append(self._now)
        self._items.close(self._leave(request))
        return self._items.take()

    def given_up(self, request: Request, cause: str) -> Settled:
        self._items.close(self._leave(request), cause)
        return self._items.take(rejected=request.spans)

    def settled(self) -> Settled:
        return self._items.take()

    def split(self, request: Request) -> bool:
        call = _call_of(request)
        if call.path == SCORES:
            return False
        lane = self._lanes[_lane_of(call)]
        spans = _spans_of(call)
        if len(spans) > 1 or (spans and _posts_trace(request)):
            half = len(spans) // 2
            kept, rest = spans[:half], spans[half:]
            items = {span["span_id"]: call.items.pop(span["span_id"]) for span in rest}
            lane.insert(
                1, _request(Call("POST", f"{TRACES}/{call.trace_id}/spans", rest, call.trace_id, items))
            )
            call.body = {**call.body, "spans": kept} if _posts_trace(request) else kept
            if call.instead:
                call.instead = {**call.instead, "spans": kept}
        elif not _shorten(spans[0] if spans else call.body):
            return False
        lane[0] = _request(call)
        return True

    def judge(self, request: Request, response: urllib3.BaseHTTPResponse) -> Verdict:
        status = response.status
        if status == 429:
            return self._limited(request, response)
        call = _call_of(request)
        if call.needs_row and (status == 404 or (status == 500 and request.path == SCORES)):
            return Verdict(self._missed(request, call))
        return Verdict(outcome_of(status))

    def _limited(self, request: Request, response: urllib3.BaseHTTPResponse) -> Verdict:
        request.attempts = 0
        if _posts_trace(request) and _says_quota(response):
            self._closed_until[request.path] = self._now + _QUOTA_WAIT
            return Verdict(Outcome.DENIED, _QUOTA)
        self._closed_until[request.path] = self._now + (retry_after(response) or _LIMITED_WAIT)
        return Verdict(Outcome.FAILED)

    def _missed(self, request: Request, call: Call) -> Outcome:
        call.misses += 1
        request.attempts = min(request.attempts, _LONGEST_WAIT_AT)
        if call.instead and not self._rows.is_posted(call.trace_id):
            if call.is_foreign and call.misses <= _MOST_MISSES:
                self._put_row_first(call.trace_id)
                return Outcome.FAILED
            self._rows.posted(call.trace_id)
            call.method, call.path, call.body = "POST", TRACES, call.instead
            call.instead, call.needs_row = None, False
            request.method, request.path, request.body, request.attempts = "POST", TRACES, _json(call.body), 0
            return Outcome.FAILED
        # When this process has posted it, a part of it posted later would put out the whole.
        return Outcome.FAILED if call.misses <= _MOST_MISSES else Outcome.REFUSED

    def _put_row_first(self, trace_id: str) -> None:
        """What waits for another process's trace waits in vain where the trace is this one's."""
        lane = self._lanes[trace_id]
        row = next((request for request in lane if request.method == "PATCH"), None)
        if row is not None and row is not lane[0]:
            lane.remove(row)
            lane.appendleft(row)

    def _opens_at(self, request: Request) -> float:
        closed_until = max(request.not_before, self._closed_until.get(request.path, 0.0))
        if _posts_trace(request) and len(self._posted) >= self._pace:
            return max(closed_until, self._posted[-self._pace] + _WINDOW)
        return closed_until

    def _is_early(self, request: Request) -> bool:
        """Whether it is a score of a trace that is still on its way."""
        return request.path == SCORES and _call_of(request).trace_id in self._lanes

    def _load_spans(self, item: Item) -> None:
        request = ExportTraceServiceRequest.FromString(gzip.decompress(item.body))
        records = [record for record in records_of(request) if record is not None]
        self._items.add(item.seq, len(records))
        self._arrived += [(record, item.seq) for record in records]

    def _load_score(self, item: Item) -> None:
        call = Call("POST", SCORES, None, json.loads(item.body)["trace_id"], {"": [item.seq]})
        self._items.add(item.seq, 1)
        self._lanes[_lane_of(call)] = deque([Request(SCORES, item.body, JSON_HEADERS, 0, call)])

    def _leave(self, request: Request) -> list[int]:
        call = _call_of(request)
        name = _lane_of(call)
        self._lanes[name].popleft()
        if not self._lanes[name]:
            del self._lanes[name]
        self._queued -= request.spans
        return [seq for items in call.items.values() for seq in items]


def _request(call: Call) -> Request:
    return Request(call.path, _json(call.body), JSON_HEADERS, len(call.items), call, call.method)


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def _json(body: Any) -> bytes:
    # What comes from OTLP and JSON is nearly always clean, and what is not shows when it is written: NaN and
    # lone surrogates fail, NUL stands out. To look at every value first costs more than to write them all.
    with suppress(ValueError, RecursionError):
        written = _encode(body).encode()
        if b"\\u0000" not in written:
            return written
    return _encode(clean_json(body)).encode()


def _call_of(request: Request) -> Call:
    return cast(Call, request.of)


def _lane_of(call: Call) -> str:
    return call.trace_id if call.path != SCORES else f"score {call.items['']}"


def _spans_of(call: Call) -> list[dict[str, Any]]:
    body: Any = call.body
    return body["spans"] if call.path == TRACES else cast("list[Any]", body) if isinstance(body, list) else []


def _posts_trace(request: Request) -> bool:
    return request.path == TRACES


def _says_quota(response: urllib3.BaseHTTPResponse) -> bool:
    try:
        body: Any = response.json()
    except ValueError:
        return False
    return isinstance(body, dict) and "detail" in body


def _shorten(body: dict[str, Any]) -> bool:
    """Shortens the longest value of a span or trace; False when there is nothing left to shorten."""
    sizes = {key: len(_json(body[key])) for key in ("input", "output", "error") if body.get(key)}
    places: list[tuple[int, dict[str, Any], str]] = [(size, body, key) for key, size in sizes.items()]
    metadata: dict[str, Any] = body.get("metadata") or {}
    places += [(len(_json(value)), metadata, key) for key, value in metadata.items()]
    size, holder, key = max(places, key=lambda place: place[0], default=(0, metadata, ""))
    if size <= 2 * _KEPT_CHARACTERS:
        return False
    value: Any = holder[key]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    holder[key] = f"{text[:_KEPT_CHARACTERS]}… [{size} bytes]"
    return True
