"""Calls a host of ours and a vendor with every instrumented client, and prints what left, as JSON.

Run in an environment that has the clients. Both hosts are this process, for which every name is loopback.
"""

import asyncio
import atexit
import json
import platform
import socket
import sys
import threading
from concurrent import futures
from contextlib import suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from socketserver import BaseRequestHandler, ThreadingUDPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.baggage import set_baggage
from opentelemetry.context import attach
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.botocore import BotocoreInstrumentor
from opentelemetry.instrumentation.grpc import GrpcAioInstrumentorClient, GrpcInstrumentorClient
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor, HTTPXClientInstrumentor
from opentelemetry.instrumentation.kafka import KafkaInstrumentor
from opentelemetry.instrumentation.pika import PikaInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.urllib import URLLibInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.propagate import get_global_textmap
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import set_tracer_provider

import pandaprobe_otel as pandaprobe
from pandaprobe_otel import propagation

OURS, VENDOR = "billing.prod.svc", "api.vendor.example"
# Where a host of ours redirects to.
REDIRECTS = {"/elsewhere": VENDOR, "/inside": OURS}
REDIRECTED = ("requests", "urllib", "urllib3", "httpx", "httpx2", "aiohttp")

Headers = dict[str, str] | None

# What has arrived: header names and values, as text.
arrived: list[str] = []

# An answer of OpenAI and of Anthropic in one.
ANSWER = {
    "id": "1",
    "model": "m",
    "object": "chat.completion",
    "created": 1,
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
    "type": "message",
    "role": "assistant",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "usage": {
        "input_tokens": 1,
        "output_tokens": 1,
        "prompt_tokens": 1,
        "completion_tokens": 1,
        "total_tokens": 2,
    },
}
MESSAGES: Any = [{"role": "user", "content": "hi"}]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        if self.path != "/v1/traces":
            arrived.append(str(self.headers))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.dumps(ANSWER).encode()
        if self.path in REDIRECTS:
            self.send_response(307)
            self.send_header("Location", f"http://{REDIRECTS[self.path]}:{self.server.server_address[1]}/")
        else:
            self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, *args: Any) -> None: ...


def call_requests(url: str, headers: Headers = None) -> None:
    import requests

    requests.get(url, timeout=10, headers=headers)


def call_urllib(url: str, headers: Headers = None) -> None:
    from urllib.request import Request, urlopen

    urlopen(Request(url, headers=headers or {}), timeout=10).read()


def call_urllib3(url: str, headers: Headers = None) -> None:
    import urllib3

    urllib3.PoolManager().request("GET", url, timeout=10, headers=headers)


def call_httpx(url: str, headers: Headers = None) -> None:
    import httpx

    httpx.get(url, follow_redirects=True, headers=headers)


def call_httpx_async(url: str) -> None:
    import httpx

    async def call() -> None:
        async with httpx.AsyncClient() as client:
            await client.get(url)

    asyncio.run(call())


def call_httpx2(url: str, headers: Headers = None) -> None:
    import httpx2

    httpx2.get(url, follow_redirects=True, headers=headers)


def call_httpx2_async(url: str) -> None:
    import httpx2

    async def call() -> None:
        async with httpx2.AsyncClient() as client:
            await client.get(url)

    asyncio.run(call())


def call_aiohttp(url: str, headers: Headers = None) -> None:
    import aiohttp

    async def call() -> None:
        async with aiohttp.ClientSession() as client, client.get(url, headers=headers) as response:
            await response.read()

    asyncio.run(call())


def call_openai(url: str) -> None:
    import openai

    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    client.chat.completions.create(model="m", messages=MESSAGES)


def call_openai_wrapped(url: str) -> None:
    import openai

    from pandaprobe_otel.wrappers import wrap_openai

    client = wrap_openai(openai.OpenAI(base_url=url, api_key="none", max_retries=0))
    client.chat.completions.create(model="m", messages=MESSAGES)


def call_anthropic(url: str) -> None:
    import anthropic

    client = anthropic.Anthropic(base_url=url, api_key="none", max_retries=0)
    client.messages.create(model="m", max_tokens=9, messages=MESSAGES)


def call_anthropic_async(url: str) -> None:
    import anthropic

    async def call() -> None:
        async with anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0) as client:
            await client.messages.create(model="m", max_tokens=9, messages=MESSAGES)

    asyncio.run(call())


def client_of_aws(service: str, url: str) -> Any:
    import boto3

    return boto3.client(
        service,
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id="none",
        aws_secret_access_key="none",
    )


def call_kms(url: str) -> None:
    client_of_aws("kms", url).list_keys()


def call_bedrock(url: str) -> None:
    messages = [{"role": "user", "content": [{"text": "hi"}]}]
    client_of_aws("bedrock-runtime", url).converse(modelId="m", messages=messages)


def call_sns(url: str) -> None:
    publish(url, lambda params, **_: None)


def call_sns_message(url: str) -> None:
    publish(url, lambda params, **_: arrived.append(str(params["body"])))
    del arrived[1:]


def publish(url: str, before_call: Any) -> None:
    from botocore.parsers import ResponseParserError

    client = client_of_aws("sns", url)
    client.meta.events.register("before-call", before_call)
    # The answer is none of SNS.
    with suppress(ResponseParserError):
        client.publish(TopicArn="arn:aws:sns:eu-west-1:1:topic", Message="hi")


def target_of(url: str) -> str:
    """The same host for gRPC, which resolves names by itself, where gRPC's server listens."""
    return f"dns://{dns_server()}/{urlsplit(url).hostname}:{grpc_server()}"


@cache
def dns_server() -> str:
    class Answer(BaseRequestHandler):
        def handle(self) -> None:
            query, answers = self.request
            question = query[12 : query.index(b"\0", 12) + 5]
            # Of IPv6 addresses there are none.
            is_for_ipv4 = question.endswith(b"\0\x01\0\x01")
            counts = bytes((0, 1, 0, is_for_ipv4, 0, 0, 0, 0))
            record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x7f\0\0\x01" if is_for_ipv4 else b""
            answers.sendto(query[:2] + b"\x81\x80" + counts + question + record, self.client_address)

    server = ThreadingUDPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"127.0.0.1:{server.server_address[1]}"


@cache
def grpc_server() -> int:
    import grpc

    def serve(details: Any) -> Any:
        arrived.append(str(details.invocation_metadata))
        kind = details.method.rpartition("/")[2]
        answer: Any = (lambda asked, _: b"") if kind.endswith("unary") else (lambda asked, _: iter([b""]))
        return getattr(grpc, f"{kind}_rpc_method_handler")(answer)

    server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[SimpleNamespace(service=serve)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    atexit.register(server.stop, None)
    return port


def call_grpc(url: str, headers: Headers = None) -> None:
    import grpc

    metadata = tuple((headers or {}).items())
    with grpc.insecure_channel(target_of(url)) as channel:
        channel.unary_unary("/billing.Billing/unary_unary")(b"", metadata=metadata)
        channel.stream_unary("/billing.Billing/stream_unary")(iter([b""]))
        list(channel.unary_stream("/billing.Billing/unary_stream")(b""))
        list(channel.stream_stream("/billing.Billing/stream_stream")(iter([b""])))


def call_grpc_async(url: str) -> None:
    import grpc

    async def call() -> None:
        async with grpc.aio.insecure_channel(target_of(url)) as channel:
            await channel.unary_unary("/billing.Billing/unary_unary")(b"")
            await channel.stream_unary("/billing.Billing/stream_unary")(iter([b""]))
            [_ async for _ in channel.unary_stream("/billing.Billing/unary_stream")(b"")]
            [_ async for _ in channel.stream_stream("/billing.Billing/stream_stream")(iter([b""]))]

    asyncio.run(call())


def call_kafka(url: str) -> None:
    import kafka

    producer = kafka.KafkaProducer.__new__(kafka.KafkaProducer)
    producer.config = {"bootstrap_servers": [url]}
    producer.send("topic", b"hi")


def send_nothing(self: Any, topic: str, value: bytes, headers: Any) -> None:
    # There is no broker: what would be sent to it has arrived.
    arrived.append(str(headers))


def call_pika(url: str) -> None:
    from pika.adapters.blocking_connection import BlockingChannel

    # There is no broker: what would be sent to it has arrived.
    def publish(exchange: str, key: str, body: bytes, properties: Any, mandatory: bool) -> None:
        arrived.append(str(properties.headers))

    channel: Any = BlockingChannel.__new__(BlockingChannel)
    channel.basic_publish = publish
    channel._consumer_infos = {}
    host = url.split("/")[2].split(":", maxsplit=1)[0]
    channel._connection = SimpleNamespace(params=SimpleNamespace(host=host, port=5672))
    PikaInstrumentor.instrument_channel(channel)
    channel.basic_publish("exchange", "key", b"hi")


CALLS: dict[str, tuple[Any, str | None]] = {
    "requests": (call_requests, "requests"),
    "urllib": (call_urllib, None),
    "urllib3": (call_urllib3, "urllib3"),
    "httpx": (call_httpx, "httpx"),
    "httpx, async": (call_httpx_async, "httpx"),
    "httpx2": (call_httpx2, "httpx2"),
    "httpx2, async": (call_httpx2_async, "httpx2"),
    "aiohttp": (call_aiohttp, "aiohttp"),
    "openai": (call_openai, "openai"),
    "openai, `wrap_openai`": (call_openai_wrapped, "openai"),
    "anthropic": (call_anthropic, "anthropic"),
    "anthropic, async": (call_anthropic_async, "anthropic"),
    "botocore": (call_kms, "botocore"),
    "botocore, Bedrock": (call_bedrock, "botocore"),
    "botocore, SNS request": (call_sns, "botocore"),
    "botocore, SNS message": (call_sns_message, "botocore"),
    "grpc": (call_grpc, "grpcio"),
    "grpc, async": (call_grpc_async, "grpcio"),
    "kafka-python": (call_kafka, "kafka-python"),
    "pika": (call_pika, "pika"),
}


def main() -> None:
    import kafka

    set_tracer_provider(TracerProvider())
    kafka.KafkaProducer.send = send_nothing
    instrumentors = [
        *(RequestsInstrumentor, URLLibInstrumentor, URLLib3Instrumentor, HTTPXClientInstrumentor),
        *(HTTPX2ClientInstrumentor, AioHttpClientInstrumentor, KafkaInstrumentor),
        *(GrpcInstrumentorClient, GrpcAioInstrumentorClient),
    ]
    for instrumentor in instrumentors:
        instrumentor().instrument(raise_exception_on_conflict=True)
    BotocoreInstrumentor().instrument()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pandaprobe.init(api_key="sk_pp_1", project_name="shop", endpoint=f"http://127.0.0.1:{server.server_port}")
    # By default it writes X-Ray's header only; here, whatever is global.
    BotocoreInstrumentor().propagator = get_global_textmap()

    resolve = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *args, **kwargs: resolve("127.0.0.1", *args, **kwargs)
    result: dict[str, Any] = {}
    attach(set_baggage("theirs", "1"))
    with pandaprobe.session("the-session"), pandaprobe.user("the-user"):
        for name, (call, package) in CALLS.items():
            seen = result[name] = {
                "version": version(package) if package else f"Python {platform.python_version()}"
            }
            for kind, host in (("ours", OURS), ("vendor", VENDOR)):
                arrived.clear()
                call(f"http://{host}:{server.server_port}/")
                seen[kind] = list(arrived)
            if name in REDIRECTED:
                for path in REDIRECTS:
                    arrived.clear()
                    call(f"http://{OURS}:{server.server_port}{path}")
                    seen[path] = arrived[1:]
            if name in (*REDIRECTED, "grpc"):
                headers: dict[str, str] = {}
                propagation.inject(headers)
                arrived.clear()
                call(f"http://{VENDOR}:{server.server_port}/", headers)
                seen["by hand"] = arrived[:1]
    json.dump(result, sys.stdout)


main()
