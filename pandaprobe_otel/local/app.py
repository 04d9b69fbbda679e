"""The web application: OTLP in, PandaProbe's API out."""

import logging
import sqlite3
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .._version import __version__
from ..attributes import TraceStatus
from . import otlp, queries
from .hosts import LoopbackOnly
from .parameters import InvalidParameter, Parameters
from .store import Store

_logger = logging.getLogger("pandaprobe_otel.local")
_STATUSES = {status.value: status.value for status in TraceStatus}
# PandaProbe's limits.
_MOST_ITEMS, _MOST_TRACES = 200, 1000
_MAX_INT64 = 2**63 - 1


def create_app(
    store: Store, *, loopback_only: bool = True, max_body_size: int = otlp.MAX_BODY_SIZE
) -> Starlette:
    """The application over a store.

    Args:
        loopback_only: Refuses requests that name another host than this machine's loopback.
        max_body_size: Bytes of a request's body, also after decompression.
    """
    app = Starlette(
        routes=[
            Route("/v1/traces", _export, methods=["POST"]),
            Route("/sessions", _list_sessions),
            Route("/sessions/{session_id:path}", _get_session),
            Route("/traces", _list_traces),
            Route("/traces/{trace_id}", _get_trace),
            Route("/health", _health),
        ],
        middleware=[Middleware(LoopbackOnly)] if loopback_only else [],
        exception_handlers={InvalidParameter: _invalid, HTTPException: _http_error},
    )
    app.state.store = store
    app.state.max_body_size = max_body_size
    return app


async def _export(request: Request) -> Response:
    content_type = otlp.PROTOBUF
    try:
        content_type = otlp.content_type_of(request.headers.get("content-type", ""))
        body = await _body(request)
        answer = await run_in_threadpool(_ingest, request, body, content_type)
        return Response(answer, media_type=content_type)
    except otlp.RequestError as error:
        _logger.warning("a trace request was refused: %s", error)
        status, message = error.status, str(error)
    except sqlite3.Error as error:
        # 503 makes an exporter try again.
        _logger.error("spans could not be stored: %s", error)
        status, message = 503, "the spans could not be stored"
    return Response(otlp.error_response(message, status, content_type), status, media_type=content_type)


async def _body(request: Request) -> bytes:
    limit: int = request.app.state.max_body_size
    whole = bytearray()
    async for part in request.stream():
        whole += part
        if len(whole) > limit:
            raise otlp.too_large(limit)
    return bytes(whole)


def _ingest(request: Request, body: bytes, content_type: str) -> bytes:
    encoding = request.headers.get("content-encoding", "")
    whole = otlp.decompress(body, encoding, request.app.state.max_body_size)
    received = otlp.decode(whole, content_type)
    if received.rejected:
        _logger.warning("%d spans without valid ids were rejected", received.rejected)
    _store(request).ingest(received.records)
    return otlp.response(received, content_type)


def _list_sessions(request: Request) -> Response:
    parameters = Parameters(request.query_params)
    chosen = _filter(parameters)
    query = parameters.text("query")
    chosen.where("t.session_id LIKE ?", f"%{query}%" if query else None)
    page = _page(parameters, queries.SESSION_ORDERS, "recent")
    return _json(queries.list_sessions(_store(request), chosen, page, parameters.flag("has_error")))


def _get_session(request: Request) -> Response:
    parameters = Parameters(request.query_params)
    session_id: str = request.path_params["session_id"]
    limit = parameters.number("limit", 200, 1, _MOST_TRACES)
    found = queries.get_session(_store(request), session_id, limit, _offset(parameters))
    return _json(found) if found else _not_found(f"Session '{session_id}' not found.")


def _list_traces(request: Request) -> Response:
    parameters = Parameters(request.query_params)
    chosen = _filter(parameters)
    chosen.where("t.session_id = ?", parameters.text("session_id"))
    if parameters.text("status") is not None:
        chosen.where("t.status = ?", parameters.choice("status", _STATUSES, ""))
    name = parameters.text("name")
    chosen.where("t.name LIKE ?", f"%{name}%" if name else None)
    return _json(
        queries.list_traces(_store(request), chosen, _page(parameters, queries.TRACE_ORDERS, "started_at"))
    )


def _get_trace(request: Request) -> Response:
    try:
        trace_id = str(UUID(request.path_params["trace_id"]))
    except ValueError as error:
        raise InvalidParameter("path -> trace_id", "Input should be a valid UUID") from error
    found = queries.get_trace(_store(request), trace_id)
    return _json(found) if found else _not_found(f"Trace {trace_id} not found.")


async def _health(_request: Request) -> Response:
    now = datetime.now(timezone.utc).isoformat()
    return _json({"status": "healthy", "version": __version__, "environment": "local", "timestamp": now})


def _filter(parameters: Parameters) -> queries.Filter:
    chosen = queries.Filter()
    chosen.where("t.user_id = ?", parameters.text("user_id"))
    chosen.where("t.started_at >= ?", parameters.time("started_after"))
    chosen.where("t.started_at < ?", parameters.time("started_before"))
    chosen.where_tagged(parameters.texts("tags"))
    return chosen


def _page(parameters: Parameters, orders: dict[str, str], default: str) -> queries.Page:
    return queries.Page(
        limit=parameters.number("limit", 50, 1, _MOST_ITEMS),
        offset=_offset(parameters),
        order=parameters.choice("sort_by", orders, default),
        direction=parameters.choice("sort_order", queries.DIRECTIONS, "desc"),
    )


def _offset(parameters: Parameters) -> int:
    return parameters.number("offset", 0, 0, _MAX_INT64)


def _store(request: Request) -> Store:
    return request.app.state.store


def _json(body: dict[str, Any]) -> Response:
    return JSONResponse(body)


def _not_found(detail: str) -> Response:
    return JSONResponse({"detail": detail}, 404)


async def _invalid(_request: Request, error: Exception) -> Response:
    field = getattr(error, "field", "")
    errors = [{"field": field, "message": str(error)}]
    return JSONResponse({"detail": "Validation error", "errors": errors}, 422)


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code, headers=error.headers)
