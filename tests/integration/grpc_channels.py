"""Calls over gRPC where there is something about the channel or the call; prints what arrived, as JSON."""

import asyncio
import json
import sys
from concurrent import futures
from types import SimpleNamespace
from typing import Any

from opentelemetry.baggage import set_baggage
from opentelemetry.context import attach
from opentelemetry.sdk.trace import TracerProvider, sampling
from opentelemetry.trace import set_tracer_provider

import pandaprobe_otel as pandaprobe

set_tracer_provider(TracerProvider(sampler=sampling.ALWAYS_OFF))
pandaprobe.init(api_key="sk_pp_1", project_name="shop", endpoint="http://127.0.0.1:4318")
imported = "grpc" in sys.modules

import grpc  # noqa: E402
from opentelemetry.instrumentation.grpc import (  # noqa: E402
    GrpcAioInstrumentorClient,
    GrpcInstrumentorClient,
)

# What has arrived: the value of `baggage`.
arrived: list[str] = []


def serve(details: Any) -> Any:
    arrived.append(dict(details.invocation_metadata).get("baggage", ""))
    return grpc.unary_unary_rpc_method_handler(lambda request, context: request)


class Theirs(grpc.aio.UnaryUnaryClientInterceptor):
    """An interceptor of the user's."""

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return await continuation(details, request)


server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[SimpleNamespace(service=serve)])
port = server.add_insecure_port("127.0.0.1:0")
server.add_insecure_port("unix-abstract:pandaprobe-test")
server.start()
OURS = f"127.0.0.1:{port}"


def call(target: str, **options: Any) -> str:
    with grpc.insecure_channel(target) as channel:
        channel.unary_unary("/b.B/pay")(b"", **options)
    return arrived.pop()


def call_async(*args: Any, **kwargs: Any) -> str:
    async def call() -> None:
        async with grpc.aio.insecure_channel(*args, **kwargs) as channel:
            await channel.unary_unary("/b.B/pay")(b"")

    asyncio.run(call())
    return arrived.pop()


attach(set_baggage("theirs", "1"))
with pandaprobe.session("c-1"):
    seen = {"imported by us": imported, "not instrumented": call(OURS)}
    instrumentors = [GrpcInstrumentorClient(), GrpcAioInstrumentorClient()]
    for each in instrumentors:
        each.instrument()
    seen["not sampled"] = call(OURS)
    seen["not sampled, async"] = call_async(OURS)
    seen["a socket"] = call("unix-abstract:pandaprobe-test")
    seen["one of two is ours"] = call(f"ipv4:{OURS},8.8.8.8:{port}")
    seen["full"] = call(OURS, metadata=(("theirs", "x" * 7000),))
    seen["an interceptor of theirs"] = call_async(OURS, interceptors=[Theirs()])
    for each in instrumentors:
        each.uninstrument()
    seen["not instrumented any more"] = call(OURS)
    seen["not instrumented, four arguments"] = call_async(OURS, None, None, [Theirs()])
    for each in instrumentors:
        each.instrument()
    seen["instrumented again"] = call(OURS)
    seen["instrumented again, async"] = call_async(OURS)
server.stop(None)
json.dump(seen, sys.stdout)
