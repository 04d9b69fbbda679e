"""Redirects: what was written for a host of ours does not go on to another one.

requests, urllib and aiohttp follow them with the headers of the first request, and OpenTelemetry's
instrumentations see that one only. httpx and urllib3 inject anew, where the propagator cleans.
"""

import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from ..guard import never_raises
from .propagation import clean_for

_OFFICIAL = "opentelemetry.instrumentation.aiohttp_client"


@cache
def clean_redirects() -> None:
    """Switches it on, for the whole process and once; also where a client is imported later."""
    from wrapt import register_post_import_hook

    for name, wrap in (("requests", _requests), ("urllib.request", _urllib), ("aiohttp", _aiohttp)):
        register_post_import_hook(wrap, name)


@never_raises
def _requests(requests: Any) -> None:
    from wrapt import wrap_function_wrapper

    # Where requests takes out the credentials that are not for the next host.
    wrap_function_wrapper(requests.Session, "rebuild_auth", _rebuild_auth)


def _rebuild_auth(wrapped: Callable[..., None], _: object, args: Any, kwargs: Any) -> None:
    wrapped(*args, **kwargs)
    request = args[0] if args else kwargs["prepared_request"]
    clean_for(request.url, request.headers)


@never_raises
def _urllib(request: Any) -> None:
    from wrapt import wrap_function_wrapper

    wrap_function_wrapper(request.HTTPRedirectHandler, "redirect_request", _redirect_request)


def _redirect_request(wrapped: Callable[..., Any], _: object, args: Any, kwargs: Any) -> Any:
    request = wrapped(*args, **kwargs)
    if request is not None:
        clean_for(request.full_url, request.headers)
    return request


@never_raises
def _aiohttp(aiohttp: Any) -> None:
    from wrapt import wrap_function_wrapper

    config = aiohttp.TraceConfig()
    config.on_request_redirect.append(_on_request_redirect)
    wrap_function_wrapper(aiohttp.ClientSession, "__init__", partial(_begin_session, config))


def _begin_session(config: Any, wrapped: Callable[..., None], _: object, args: Any, kwargs: Any) -> None:
    if _OFFICIAL in sys.modules:
        kwargs = {**kwargs, "trace_configs": [*(kwargs.get("trace_configs") or ()), config]}
    wrapped(*args, **kwargs)


async def _on_request_redirect(_: object, __: object, params: Any) -> None:
    clean_for(_next_url(params) or "", params.headers)


@never_raises
def _next_url(params: Any) -> str:
    headers = params.response.headers
    location = headers.get("Location") or headers.get("URI") or ""
    return str(params.url.join(type(params.url)(location)))
