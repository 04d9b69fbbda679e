"""The OTLP wire: `POST {endpoint}/v1/traces`, protobuf, gzip."""

import gzip
import logging
from collections import deque
from collections.abc import Sequence

import urllib3
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ..guard import REPEATED, warn_once
from .spool import Item
from .wire import JSON_HEADERS, SCORES, Ledger, Outcome, Request, Settled, Verdict, outcome_of

_logger = logging.getLogger("pandaprobe_otel.export")

PATH = "/v1/traces"
_HEADERS = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
# Level 1 costs a fifth of level 9's CPU for 15 % more bytes.
_GZIP_LEVEL = 1
# What is left of a value of a span that is too large by itself.
_KEPT_CHARACTERS = 1024


def pack(request: ExportTraceServiceRequest) -> bytes:
    """An OTLP request as it is sent and spooled."""
    return gzip.compress(request.SerializeToString(), _GZIP_LEVEL)


def unpack(body: bytes) -> ExportTraceServiceRequest:
    """What `pack` has packed."""
    return ExportTraceServiceRequest.FromString(gzip.decompress(body))


class OtlpWire:
    """Sends items as they are spooled: one request each.

    Args:
        max_bytes: The most bytes of a request; a larger one is split before it is sent.
    """

    name = "OTLP"

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._requests: deque[Request] = deque()
        self._items = Ledger()

    @property
    def loaded(self) -> int:
        return sum(request.spans for request in self._requests)

    @property
    def idle(self) -> bool:
        return not self._requests

    def load(self, items: Sequence[Item]) -> None:
        for item in items:
            self._items.add(item.seq, 1)
            self._requests.append(
                Request(SCORES, item.body, JSON_HEADERS, 0, item.seq)
                if item.kind == "score"
                else self._request(item.body, item.count, item.seq)
            )

    def next(self, now: float, *, final: bool) -> Request | None:
        ready = next((request for request in self._requests if request.not_before <= now), None)
        if ready is not None and len(ready.body) > self._max_bytes and self.split(ready):
            return self.next(now, final=final)
        return ready

    def next_at(self) -> float | None:
        return min((request.not_before for request in self._requests), default=None)

    def delivered(self, request: Request, response: urllib3.BaseHTTPResponse) -> Settled:
        self._requests.remove(request)
        self._items.close([request.of])
        return self._items.take(rejected=min(request.spans, _rejected(response)))

    def given_up(self, request: Request, cause: str) -> Settled:
        self._requests.remove(request)
        self._items.close([request.of], cause)
        return self._items.take(rejected=request.spans)

    def settled(self) -> Settled:
        return self._items.take()

    def split(self, request: Request) -> bool:
        if request.path == SCORES:
            return False
        whole = unpack(request.body)
        spans = _spans(whole)
        if len(spans) > 1:
            half = len(spans) // 2
            parts = [_only(whole, range(half)), _only(whole, range(half, len(spans)))]
        elif spans and _shorten(spans[0]):
            parts = [whole]
        else:
            return False
        self._items.add(request.of, len(parts))
        self._items.close([request.of])
        self._requests.remove(request)
        self._requests.extendleft(
            self._request(pack(part), len(_spans(part)), request.of) for part in reversed(parts)
        )
        return True

    def judge(self, request: Request, response: urllib3.BaseHTTPResponse) -> Verdict:
        if request.path == SCORES and response.status in (404, 500):
            # PandaProbe keeps a trace some time after it has taken it.
            return Verdict(Outcome.FAILED)
        return Verdict(outcome_of(response.status))

    def _request(self, body: bytes, spans: int, seq: int) -> Request:
        return Request(PATH, body, _HEADERS, spans, seq)


def _spans(request: ExportTraceServiceRequest) -> list[Span]:
    scopes = [scope for resource in request.resource_spans for scope in resource.scope_spans]
    return [span for scope in scopes for span in scope.spans]


def _only(whole: ExportTraceServiceRequest, positions: range) -> ExportTraceServiceRequest:
    """The request with no other spans than those at these positions."""
    part = ExportTraceServiceRequest()
    number = 0
    for resource in whole.resource_spans:
        resource_spans = part.resource_spans.add(resource=resource.resource, schema_url=resource.schema_url)
        for scope in resource.scope_spans:
            scope_spans = resource_spans.scope_spans.add(scope=scope.scope, schema_url=scope.schema_url)
            scope_spans.spans.extend(
                span for place, span in enumerate(scope.spans, number) if place in positions
            )
            number += len(scope.spans)
    return part


def _shorten(span: Span) -> bool:
    """Shortens the longest values of a span; False when there is nothing left to shorten."""
    longest = max(span.attributes, key=lambda attribute: attribute.ByteSize(), default=None)
    if longest is None or longest.ByteSize() <= 2 * _KEPT_CHARACTERS:
        return False
    text = longest.value.string_value
    size = longest.ByteSize()
    kept = f"{text[:_KEPT_CHARACTERS]}… [{size} bytes]" if text else f"[{size} bytes]"
    longest.value.Clear()
    longest.value.string_value = kept
    return True


def _rejected(response: urllib3.BaseHTTPResponse) -> int:
    try:
        partial = ExportTraceServiceResponse.FromString(response.data).partial_success
    except Exception:
        # A receiver that answers 2xx with something else has still accepted the batch.
        return 0
    if partial.rejected_spans:
        count = partial.rejected_spans
        message = "the receiver rejected %d spans of a batch"
        warn_once(_logger, "partial success", message, count, every=REPEATED)
    return partial.rejected_spans
