"""What is compared: each function sets a process up, and gives the turn that is repeated and the flush."""

from collections.abc import Callable
from typing import Any, NamedTuple

from opentelemetry import baggage, context, trace
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from workload import Conversation, manual_turn, plain_turn

import pandaprobe_otel as pandaprobe

USER = "user-42"


class Variant(NamedTuple):
    """`turn` takes a session id, which those that have sessions use, and the content."""

    turn: Callable[[str, Conversation], None]
    flush: Callable[[], object]


def _bare_provider(endpoint: str, compression: Compression = Compression.NoCompression) -> TracerProvider:
    exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", compression=compression)
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider


def _without_session(provider: TracerProvider) -> Variant:
    tracer = provider.get_tracer("bench")
    return Variant(lambda session_id, conversation: plain_turn(tracer, conversation), provider.force_flush)


def _with_our_session(provider: TracerProvider) -> Variant:
    tracer = provider.get_tracer("bench")

    def turn(session_id: str, conversation: Conversation) -> None:
        with pandaprobe.session(session_id), pandaprobe.user(USER):
            plain_turn(tracer, conversation)

    # Under valgrind it takes longer than the 30 seconds that are meant.
    return Variant(turn, lambda: provider.force_flush(600_000))


def bare(endpoint: str) -> Variant:
    return _without_session(_bare_provider(endpoint))


def bare_gzip(endpoint: str) -> Variant:
    return _without_session(_bare_provider(endpoint, Compression.Gzip))


def joined(endpoint: str, **settings: Any) -> Variant:
    provider = TracerProvider()
    trace.set_tracer_provider(provider)
    pandaprobe.init(endpoint=endpoint, **settings)
    return _with_our_session(provider)


def joined_rest(endpoint: str) -> Variant:
    return joined(endpoint, protocol="rest", traces_per_minute=1_000_000)


def beside(endpoint: str) -> Variant:
    provider = _bare_provider(endpoint)
    pandaprobe.init(endpoint=endpoint)
    return _with_our_session(provider)


def manual(endpoint: str) -> Variant:
    client = pandaprobe.init(endpoint=endpoint)

    def turn(session_id: str, conversation: Conversation) -> None:
        with pandaprobe.session(session_id), pandaprobe.user(USER):
            manual_turn(conversation)

    return Variant(turn, client.flush)


def baggage_processor(endpoint: str) -> Variant:
    from opentelemetry.processor.baggage import BaggageSpanProcessor

    provider = _bare_provider(endpoint)
    provider.add_span_processor(BaggageSpanProcessor(lambda key: key in ("session.id", "user.id")))
    tracer = provider.get_tracer("bench")

    def turn(session_id: str, conversation: Conversation) -> None:
        carried = baggage.set_baggage("user.id", USER, baggage.set_baggage("session.id", session_id))
        token = context.attach(carried)
        try:
            plain_turn(tracer, conversation)
        finally:
            context.detach(token)

    return Variant(turn, provider.force_flush)


def phoenix(endpoint: str) -> Variant:
    from openinference.instrumentation import using_attributes
    from phoenix.otel import register

    provider = register(endpoint=f"{endpoint}/v1/traces", protocol="http/protobuf", batch=True, verbose=False)
    tracer = provider.get_tracer("bench")

    def turn(session_id: str, conversation: Conversation) -> None:
        with using_attributes(session_id=session_id, user_id=USER):
            plain_turn(tracer, conversation)

    return Variant(turn, provider.force_flush)


def langfuse(endpoint: str) -> Variant:
    from langfuse import Langfuse, propagate_attributes

    client = Langfuse(public_key="pk-lf-bench", secret_key="sk-lf-bench", base_url=endpoint)
    tracer = trace.get_tracer("bench")

    def turn(session_id: str, conversation: Conversation) -> None:
        with propagate_attributes(session_id=session_id, user_id=USER):
            plain_turn(tracer, conversation)

    return Variant(turn, client.flush)


VARIANTS: dict[str, Callable[[str], Variant]] = {
    "bare": bare,
    "bare+gzip": bare_gzip,
    "joined": joined,
    "joined-rest": joined_rest,
    "beside": beside,
    "manual": manual,
    "baggage": baggage_processor,
    "phoenix": phoenix,
    "langfuse": langfuse,
}
