"""PandaProbe as a wire sees it, in memory: schemas, upserts and limits; and who drives a wire."""

import gzip
import json
from collections.abc import Iterable, Sequence
from typing import Any

import urllib3
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from pandaprobe_schemas import check

from pandaprobe_otel.export.rest import RestWire
from pandaprobe_otel.export.spool import Item
from pandaprobe_otel.export.wire import Outcome, Request, Settled
from pandaprobe_otel.session.stamping import SessionSpanProcessor

Json = dict[str, Any]

# A null in these columns puts out what was stored.
_TRACE_JSON = ("input", "output")
_SPAN_JSON = ("input", "output", "token_usage", "model_parameters", "cost")
_MINUTE = 60.0


class Client:
    """A client that keeps the spans of its provider in the order in which they end."""

    def __init__(self) -> None:
        self.ended: list[ReadableSpan] = []
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SessionSpanProcessor())
        self.tracer_provider.add_span_processor(_Keep(self.ended))
        self.tracer = self.tracer_provider.get_tracer("tests")

    def take(self) -> list[ReadableSpan]:
        taken = list(self.ended)
        self.ended.clear()
        return taken


class _Keep(SpanProcessor):
    def __init__(self, ended: list[ReadableSpan]) -> None:
        self._ended = ended

    def on_end(self, span: ReadableSpan) -> None:
        self._ended.append(span)


def item(seq: int, spans: Sequence[ReadableSpan]) -> Item:
    """Spans as they are spooled."""
    return Item(seq, "spans", gzip.compress(encode_spans(spans).SerializeToString(), 1), len(spans))


class Receiver:
    """PandaProbe's API.

    Args:
        lag: Seconds until a trace that was taken can be found.
        limit: How many traces it takes in a minute.
        quota: How many it takes at all.
        most_bytes: The longest body that its proxy lets through.
        checks: Whether every body is held against the schema, which takes milliseconds.
    """

    def __init__(
        self,
        *,
        lag: float = 0.0,
        limit: int = 100,
        quota: int = 10**9,
        most_bytes: int = 10**9,
        checks: bool = True,
    ) -> None:
        self.lag, self.limit, self.quota, self.most_bytes = lag, limit, quota, most_bytes
        self._check = check if checks else _no_check
        self.now = 0.0
        self.traces: dict[str, Json] = {}
        self.spans: dict[str, Json] = {}
        self.scores: list[Json] = []
        self.requests: list[tuple[float, str, str, int]] = []
        self.put_out: list[str] = []
        self._queue: list[tuple[float, Json]] = []
        self._window: tuple[float, int] = (-_MINUTE, 0)

    def answer(self, request: Request) -> urllib3.HTTPResponse:
        self._work()
        status, body = self._route(request)
        self._work()
        self.requests.append((self.now, request.method, request.path, status))
        return urllib3.HTTPResponse(json.dumps(body).encode(), status=status)

    def paths(self, status: int | None = None) -> list[str]:
        """The requests as `POST /traces`, with `*` in the place of ids."""
        return [
            f"{method} " + "/".join("*" if len(part) == 36 else part for part in path.split("/"))
            for _, method, path, got in self.requests
            if status is None or got == status
        ]

    def stored(self) -> dict[str, Json]:
        """Every trace with its spans."""
        assert self.put_out == []
        self._work(float("inf"))
        whole = {trace_id: {**trace, "spans": {}} for trace_id, trace in self.traces.items()}
        for span_id, span in self.spans.items():
            whole[span["trace_id"]]["spans"][span_id] = span
        return whole

    def named(self, name: str) -> Json:
        (found,) = [trace for trace in self.stored().values() if trace["name"] == name]
        return found

    def _route(self, request: Request) -> tuple[int, Json]:
        assert request.headers == {"Content-Type": "application/json"}
        if len(request.body) > self.most_bytes:
            return 413, {}
        body = json.loads(request.body)
        match request.method, request.path.strip("/").split("/"):
            case "POST", ["traces"]:
                return self._post_trace(body)
            case "PATCH", ["traces", trace_id]:
                return self._patch_trace(trace_id, body)
            case "POST", ["traces", trace_id, "spans"]:
                return self._post_spans(trace_id, body)
            case "POST", ["evaluations", "trace-scores"]:
                self._check(body, "CreateTraceScoreRequest", whole=False)
                if body["trace_id"] not in self.traces:
                    return 500, {}
                self.scores.append(body)
                return 201, {}
            case _:
                raise AssertionError((request.method, request.path))

    def _post_trace(self, body: Json) -> tuple[int, Json]:
        self._check(body, "TraceCreate")
        if self.quota <= 0:
            return 429, {"detail": "You've reached the traces limit for your plan."}
        began, count = self._window if self._window[0] + _MINUTE > self.now else (self.now, 0)
        self._window = began, count + 1
        if count >= self.limit:
            return 429, {"error": "Rate limit exceeded"}
        self.quota -= 1
        self._queue.append((self.now + self.lag, body))
        return 202, {"trace_id": body["trace_id"]}

    def _work(self, now: float | None = None) -> None:
        due = [pair for pair in self._queue if pair[0] <= (self.now if now is None else now)]
        self._queue = [pair for pair in self._queue if pair not in due]
        for _, body in due:
            row = {key: value for key, value in body.items() if key != "spans"}
            old = self.traces.get(row["trace_id"], {})
            self.put_out += [f"{row['name']}.{key}" for key in _TRACE_JSON if old.get(key) and not row[key]]
            kept = {key: old[key] for key in old if row[key] is None and key not in _TRACE_JSON}
            merged = {
                "metadata": {**old.get("metadata", {}), **row["metadata"]},
                "tags": sorted({*old.get("tags", []), *row["tags"]}),
            }
            self.traces[row["trace_id"]] = {**row, **kept, **merged}
            for span in body["spans"]:
                self._put_span(row["trace_id"], span)

    def _put_span(self, trace_id: str, span: Json) -> None:
        old = self.spans.get(span["span_id"], {})
        self.put_out += [f"{span['name']}.{key}" for key in _SPAN_JSON if old.get(key) and not span[key]]
        # What is never changed.
        kept = {key: old[key] for key in ("trace_id", "parent_span_id") if old}
        self.spans[span["span_id"]] = {"trace_id": trace_id, **span, **kept}

    def _patch_trace(self, trace_id: str, body: Json) -> tuple[int, Json]:
        self._check(body, "TraceUpdate", whole=False)
        assert None not in body.values()
        if trace_id not in self.traces:
            return 404, {}
        row = self.traces[trace_id]
        row |= {**body, "metadata": {**row["metadata"], **body.get("metadata", {})}}
        return 200, row

    def _post_spans(self, trace_id: str, body: list[Json]) -> tuple[int, Json]:
        assert 1 <= len(body) <= 500
        for span in body:
            self._check(span, "SpanCreate")
        if trace_id not in self.traces:
            return 404, {}
        for span in body:
            self._put_span(trace_id, span)
        return 201, {}


def _no_check(body: Any, name: str, *, whole: bool = True) -> None:
    pass


class Courier:
    """Drives a wire as the delivery thread does, on a clock of its own."""

    def __init__(self, receiver: Receiver | None = None, **options: Any) -> None:
        self.receiver = receiver or Receiver()
        self.wire = RestWire(**options)
        self.now = 0.0
        self.acked: list[int] = []
        self.aside: list[int] = []
        self.problems: list[str] = []
        self._held_until = 0.0
        self._seq = 0

    def bring(self, *batches: Iterable[ReadableSpan]) -> None:
        """Puts an item of each batch, sending after each what can be sent."""
        for batch in batches:
            self._seq += 1
            self.load(item(self._seq, list(batch)))

    def load(self, *items: Item) -> None:
        self.wire.load(items)
        self.run()

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self.run()
            at = self.wire.next_at()
            at = None if at is None else max(at, self._held_until)
            if at is None or at > end:
                break
            self.now = max(self.now + 0.01, at)
        self.now = end
        self.run()

    def run(self, *, final: bool = False) -> None:
        while self.now >= self._held_until:
            request = self.wire.next(self.now, final=final)
            if request is None:
                self._settle(self.wire.settled())
                return
            request.attempts += 1
            self.receiver.now = self.now
            response = self.receiver.answer(request)
            outcome, problem = self.wire.judge(request, response)
            self.problems += [problem] if problem else []
            if outcome is Outcome.DELIVERED:
                self._settle(self.wire.delivered(request, response))
            elif outcome is Outcome.TOO_LARGE and self.wire.split(request):
                pass
            elif outcome in (Outcome.AWAY, Outcome.DENIED):
                self._held_until = self.now + 60
            elif outcome is Outcome.FAILED and request.attempts < 6:
                request.not_before = self.now + min(0.5 * 2**request.attempts, 30.0)
            else:
                self._settle(self.wire.given_up(request, f"HTTP {response.status}"))

    def _settle(self, settled: Settled) -> None:
        self.acked += settled.done
        self.aside += settled.aside
