"""The OTLP wire: `POST {endpoint}/v1/traces`, protobuf, gzip."""

import gzip
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from threading import Event
from time import monotonic, time

import urllib3
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.sdk.trace import ReadableSpan

from ..guard import warn_once
from .connection import Connection

_logger = logging.getLogger("pandaprobe_otel.export")

_PATH = "/v1/traces"
_HEADERS = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
# Level 1 costs a fifth of level 9's CPU for 15 % more bytes.
_GZIP_LEVEL = 1
_RETRYABLE = {408, 429, 500, 502, 503, 504}
# Seconds; doubled at every further attempt.
_FIRST_WAIT = 0.5

_FIXES = {
    401: "the API key is refused; set PANDAPROBE_API_KEY to a valid key",
    403: "the API key may not write to this project; check PANDAPROBE_PROJECT_NAME and the key's rights",
    404: "there is no OTLP receiver there; PANDAPROBE_ENDPOINT is the base URL, without /v1/traces",
}


class OtlpWire:
    """Sends batches of spans as OTLP.

    Args:
        connection: Where to.
        lost_attributes: Gives the stamped attributes that a span has lost to its attribute limit.
        resource: Attributes that a resource gets where it has none of that name.
    """

    def __init__(
        self,
        connection: Connection,
        lost_attributes: Callable[[ReadableSpan], Mapping[str, str]],
        resource: Mapping[str, str],
    ) -> None:
        self._connection = connection
        self._lost_attributes = lost_attributes
        self._resource = resource
        self._stopped = Event()

    def stop(self) -> None:
        """Ends waiting between attempts, now and from now on."""
        self._stopped.set()

    def send(self, spans: Sequence[ReadableSpan], give_up_at: float) -> int:
        """Sends a batch, again after failures that may pass.

        Args:
            spans: The batch.
            give_up_at: When to stop, on the clock of `time.monotonic`.

        Returns:
            How many of the spans were accepted.
        """
        request = self._encode(spans)
        made = sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)
        body = gzip.compress(request.SerializeToString(), _GZIP_LEVEL)
        wait = _FIRST_WAIT
        while True:
            pause = wait * random.uniform(0.8, 1.2)
            try:
                response = self._connection.post(_PATH, body, _HEADERS, give_up_at)
            except urllib3.exceptions.HTTPError as error:
                problem = f"no answer ({type(error).__name__}); is PANDAPROBE_ENDPOINT right and reachable?"
            else:
                if 200 <= response.status < 300:
                    return made - _rejected(response)
                problem = f"HTTP {response.status}; {_fix(response)}"
                if response.status not in _RETRYABLE:
                    break
                pause = max(pause, _retry_after(response))
            if monotonic() + pause > give_up_at or self._stopped.wait(pause):
                break
            wait *= 2
        self._say(problem)
        return 0

    def _say(self, problem: str) -> None:
        endpoint = self._connection.endpoint
        warn_once(_logger, f"{endpoint} {problem}", "spans do not reach %s: %s", endpoint + _PATH, problem)

    def _encode(self, spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
        try:
            request = encode_spans(spans)
        except Exception:
            request = encode_spans([span for span in spans if _can_be_encoded(span)])
        for resource_spans in request.resource_spans:
            present = {attribute.key for attribute in resource_spans.resource.attributes}
            resource_spans.resource.attributes.extend(
                _attribute(key, value) for key, value in self._resource.items() if key not in present
            )
        self._put_back_lost_attributes(spans, request)
        return request

    def _put_back_lost_attributes(
        self, spans: Sequence[ReadableSpan], request: ExportTraceServiceRequest
    ) -> None:
        lost = {
            span.context.span_id.to_bytes(8, "big"): attributes
            for span in spans
            if span.context and span.dropped_attributes and (attributes := self._lost_attributes(span))
        }
        if not lost:
            return
        for resource_spans in request.resource_spans:
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    span.attributes.extend(_attribute(*item) for item in lost.get(span.span_id, {}).items())


def _can_be_encoded(span: ReadableSpan) -> bool:
    try:
        encode_spans([span])
    except Exception as error:
        kind = type(error).__name__
        warn_once(_logger, f"encoding {kind}", "a span that cannot be encoded as OTLP is left out (%s)", kind)
        return False
    return True


def _attribute(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def _rejected(response: urllib3.BaseHTTPResponse) -> int:
    try:
        partial = ExportTraceServiceResponse.FromString(response.data).partial_success
    except Exception:
        # A receiver that answers 2xx with something else has still accepted the batch.
        return 0
    if partial.rejected_spans:
        warn_once(
            _logger, "partial success", "the receiver rejected %d spans of a batch", partial.rejected_spans
        )
    return partial.rejected_spans


def _fix(response: urllib3.BaseHTTPResponse) -> str:
    location = response.headers.get("Location")
    if 300 <= response.status < 400 and location:
        return f"set PANDAPROBE_ENDPOINT to where it redirects, {location.removesuffix(_PATH)}"
    return _FIXES.get(response.status, "the receiver did not take them")


def _retry_after(response: urllib3.BaseHTTPResponse) -> float:
    text = response.headers.get("Retry-After", "")
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(text).timestamp() - time()
    except ValueError:
        return 0.0
