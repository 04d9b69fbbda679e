"""Two services that speak gRPC: `serve` prints its ports, `call PORT PORT` calls it in every way.

The second port takes credentials. What is answered is the session that is worked for.
"""

import asyncio
import sys
from concurrent import futures
from types import SimpleNamespace
from typing import Any

import grpc
from opentelemetry.instrumentation.utils import suppress_instrumentation

import pandaprobe_otel as pandaprobe

FORGED = (("baggage", "session.id=victim,pandaprobe.context=1.dmljdGltCgo.x"),)


def serve() -> None:
    def session() -> bytes:
        with pandaprobe.start_trace("answer"):
            return str(pandaprobe.current_session()).encode()

    def handler(details: Any) -> Any:
        kind = details.method.rpartition("/")[2]
        one: Any = lambda asked, _: session()  # noqa: E731
        several: Any = lambda asked, _: iter([session()])  # noqa: E731
        return getattr(grpc, f"{kind}_rpc_method_handler")(one if kind.endswith("unary") else several)

    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[SimpleNamespace(service=handler)])
    insecure = server.add_insecure_port("127.0.0.1:0")
    secure = server.add_secure_port("127.0.0.1:0", grpc.local_server_credentials())
    server.start()
    sys.stdout.write(f"{insecure} {secure}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop(None)


def calls(channel: Any) -> list[Any]:
    return [
        channel.unary_unary("/b.B/unary_unary")(b""),
        channel.stream_unary("/b.B/stream_unary")(iter([b""])),
        channel.unary_stream("/b.B/unary_stream")(b""),
        channel.stream_stream("/b.B/stream_stream")(iter([b""])),
    ]


def call(insecure: str, secure: str) -> set[bytes]:
    credentials = grpc.local_channel_credentials()
    with (
        grpc.insecure_channel(f"127.0.0.1:{insecure}") as one,
        grpc.secure_channel(f"127.0.0.1:{secure}", credentials) as other,
    ):
        answers = [*calls(one), *calls(other)]
        return {part for answer in answers for part in ([answer] if isinstance(answer, bytes) else answer)}


async def call_async(insecure: str, secure: str) -> set[bytes]:
    credentials = grpc.local_channel_credentials()
    async with (
        grpc.aio.insecure_channel(f"127.0.0.1:{insecure}") as one,
        grpc.aio.secure_channel(f"127.0.0.1:{secure}", credentials) as other,
    ):
        found: set[bytes] = set()
        for answer in (*calls(one), *calls(other)):
            found |= {part async for part in answer} if hasattr(answer, "__aiter__") else {await answer}
        return found


if sys.argv[1] == "serve":
    serve()
else:
    ports = sys.argv[2:]
    with suppress_instrumentation(), grpc.insecure_channel(f"127.0.0.1:{ports[0]}") as channel:
        forged = channel.unary_unary("/b.B/unary_unary")(b"", metadata=FORGED)
    with pandaprobe.session("c-1"), pandaprobe.start_trace("question"):
        answers = call(*ports) | asyncio.run(call_async(*ports))
    sys.stdout.write(f"{forged!r} {answers}")
