"""OTLP/HTTP trace requests as span records, and the answers to them."""

import json
import zlib
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import MessageToJson, ParseDict, ParseError
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from ..export.mapping import SpanRecord, clean_json
from ..export.mapping.decoding import records_of

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
# A few kilobytes of gzip can stand for gigabytes.
MAX_BODY_SIZE = 256 * 1024 * 1024

# zlib's names for the two formats.
_WINDOW_BITS = {"gzip": 31, "deflate": 15}
# google.rpc.Code.
_INVALID_ARGUMENT, _UNAVAILABLE = 3, 14


class RequestError(Exception):
    """A request that cannot be taken; the message says why, without content.

    Args:
        status: The HTTP status of the answer.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """What a request delivers.

    Args:
        records: The spans.
        rejected: How many spans have no valid ids.
    """

    records: list[SpanRecord]
    rejected: int


def content_type_of(header: str) -> str:
    """The encoding that a Content-Type header names.

    Raises:
        RequestError: It is none of OTLP's.
    """
    content_type = header.partition(";")[0].strip().lower()
    if content_type not in (PROTOBUF, JSON):
        raise RequestError(f"the Content-Type is to be {PROTOBUF} or {JSON}", 415)
    return content_type


def decompress(body: bytes, encoding: str, limit: int = MAX_BODY_SIZE) -> bytes:
    """The body without its Content-Encoding.

    Args:
        limit: How many bytes it may have then.

    Raises:
        RequestError: The encoding is unknown, the body is damaged, or too large.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in _WINDOW_BITS:
        raise RequestError("the Content-Encoding is to be gzip, deflate or identity", 415)
    whole = bytearray()
    while True:
        decoder = zlib.decompressobj(_WINDOW_BITS[encoding])
        try:
            whole += decoder.decompress(body, limit + 1 - len(whole))
        except zlib.error as error:
            raise RequestError(f"the body is no {encoding}") from error
        if len(whole) > limit:
            raise too_large(limit)
        if not decoder.eof:
            raise RequestError(f"the {encoding} body ends too early")
        # A gzip body may have several members.
        body = decoder.unused_data
        if not body:
            return bytes(whole)


def too_large(limit: int) -> RequestError:
    """The error for a body of more bytes."""
    return RequestError(f"the body has more than {limit} bytes", 413)


def decode(body: bytes, content_type: str) -> TraceRequest:
    """The spans of an ExportTraceServiceRequest.

    Raises:
        RequestError: The body is none.
    """
    try:
        request = _from_json(body) if content_type == JSON else ExportTraceServiceRequest.FromString(body)
    except (DecodeError, ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise RequestError("the body is no ExportTraceServiceRequest") from error
    records: list[SpanRecord] = []
    rejected = 0
    for record in records_of(request):
        if record is None:
            rejected += 1
        else:
            records.append(record)
    return TraceRequest(records, rejected)


def response(request: TraceRequest, content_type: str) -> bytes:
    """The ExportTraceServiceResponse to a request that was taken."""
    answer = ExportTraceServiceResponse()
    if request.rejected:
        answer.partial_success.rejected_spans = request.rejected
        answer.partial_success.error_message = "spans without a valid trace id and span id were rejected"
    return _encode(answer, content_type)


def error_response(message: str, status: int, content_type: str) -> bytes:
    """The google.rpc.Status to a request that was not taken.

    Args:
        status: The HTTP status of the answer.
    """
    code = _UNAVAILABLE if status >= 500 else _INVALID_ARGUMENT
    return _encode(Status(code=code, message=message), content_type)


def _encode(message: Message, content_type: str) -> bytes:
    return MessageToJson(message).encode() if content_type == JSON else message.SerializeToString()


def _from_json(body: bytes) -> ExportTraceServiceRequest:
    # JavaScript cuts text in the middle of a surrogate pair, and protobuf refuses such text.
    request = clean_json(json.loads(body))
    for resource_spans in request.get("resourceSpans") or ():
        for scope_spans in resource_spans.get("scopeSpans") or ():
            for span in scope_spans.get("spans") or ():
                span.pop("links", None)
                # OTLP has ids in hex, where protobuf's own JSON has all bytes in base64.
                for key in ("traceId", "spanId", "parentSpanId"):
                    span[key] = b64encode(_from_hex(span.get(key))).decode()
    return ParseDict(request, ExportTraceServiceRequest(), ignore_unknown_fields=True)


def _from_hex(value: Any) -> bytes:
    try:
        return bytes.fromhex(value or "")
    except ValueError:
        # No valid id has this length, so that only this span is rejected.
        return b"?"
