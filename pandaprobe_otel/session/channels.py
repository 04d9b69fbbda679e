"""gRPC's channels: session, user and turn go along with calls to targets that are ours.

OpenTelemetry's instrumentation of gRPC says nowhere who is called, so the propagator lets nothing of ours
leave. Who it is, is known where a channel is made. There, inside what the instrumentation puts around it,
ours are added to what that has injected into the metadata.
"""

import sys
from collections.abc import Callable, Collection
from functools import cache, partial
from typing import Any

from ..guard import never_raises
from .peers import hosts_of_target
from .propagation import may_go_to, with_ours

_OFFICIAL = "opentelemetry.instrumentation.grpc"
# What makes a channel, and the place of its argument `interceptors` where calls are asynchronous.
_MAKERS = {"insecure_channel": 3, "secure_channel": 4}
_KINDS = ("UnaryUnary", "UnaryStream", "StreamUnary", "StreamStream")


@cache
def carry_into_grpc() -> None:
    """Switches it on, for the whole process and once; also where gRPC is imported later."""
    from wrapt import register_post_import_hook

    register_post_import_hook(_wrap, "grpc")


@never_raises
def _wrap(grpc: Any) -> None:
    import wrapt

    wrapper: Any = wrapt.FunctionWrapper
    interceptor = _interceptor(grpc, *_KINDS)
    # gRPC would call one of several kinds for the first of them only.
    interceptors = [_interceptor(grpc.aio, kind) for kind in _KINDS]
    for name, position in _MAKERS.items():
        outer, make = None, getattr(grpc, name)
        # The interceptor that is put around a channel first is called last; the instrumentation may be there.
        while isinstance(make, wrapper):
            outer, make = make, make.__wrapped__
        inner = wrapper(make, partial(_make, grpc.intercept_channel, interceptor))
        if outer is None:
            setattr(grpc, name, inner)
        else:
            outer.__wrapped__ = inner
        make_async = getattr(grpc.aio, name)
        setattr(grpc.aio, name, wrapper(make_async, partial(_make_async, interceptors, position)))


def _interceptor(grpc: Any, *kinds: str) -> type["_Interceptor"]:
    # gRPC goes by base classes, and must not be imported for them.
    bases = (getattr(grpc, f"{kind}ClientInterceptor") for kind in kinds)
    return type(_Interceptor.__name__, (_Interceptor, *bases), {})


def _make(
    intercept: Callable[..., Any],
    interceptor: type["_Interceptor"],
    make: Callable[..., Any],
    _: object,
    args: Any,
    kwargs: Any,
) -> Any:
    channel = make(*args, **kwargs)
    hosts = _hosts_of_ours(args, kwargs)
    return intercept(channel, interceptor(hosts)) if hosts else channel


def _make_async(
    interceptors: Collection[type["_Interceptor"]],
    position: int,
    make: Callable[..., Any],
    _: object,
    args: Any,
    kwargs: Any,
) -> Any:
    hosts = _hosts_of_ours(args, kwargs)
    if hosts:
        # Those of the instrumentation are put before these, which are called last.
        ours = [interceptor(hosts) for interceptor in interceptors]
        if len(args) > position:
            args = (*args[:position], [*(args[position] or ()), *ours], *args[position + 1 :])
        else:
            kwargs = {**kwargs, "interceptors": [*(kwargs.get("interceptors") or ()), *ours]}
    return make(*args, **kwargs)


@never_raises
def _hosts_of_ours(args: Any, kwargs: Any) -> Collection[str]:
    """Who the channel that is made leads to; nobody where it may be anyone, or where nothing is injected."""
    hosts = hosts_of_target(args[0] if args else kwargs.get("target"))
    return hosts if _OFFICIAL in sys.modules and may_go_to(hosts) else ()


class _Interceptor:
    """Adds ours to the metadata of a call of any kind, synchronous or not."""

    def __init__(self, hosts: Collection[str]) -> None:
        self._hosts = hosts

    def _intercept(self, call: Callable[..., Any], details: Any, request: Any) -> Any:
        return call(self._with_ours(details) or details, request)

    intercept_unary_unary = intercept_unary_stream = _intercept
    intercept_stream_unary = intercept_stream_stream = _intercept

    @never_raises
    def _with_ours(self, details: Any) -> "_Details | None":
        written = with_ours(details.metadata or (), self._hosts)
        return _Details(details, tuple(written)) if written else None


class _Details:
    """The details of a call, whoever has made them, with other metadata."""

    def __init__(self, details: Any, metadata: Any) -> None:
        self._details = details
        self.metadata = metadata

    def __getattr__(self, name: str) -> Any:
        return getattr(self._details, name)
