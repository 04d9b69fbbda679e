"""What is taken out of spans, whoever made them, before it is written to disk or sent."""

import base64
import gzip
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags
from otlp_receiver import Receiver, attributes_of

import pandaprobe_otel as pandaprobe
from pandaprobe_otel import runtime
from pandaprobe_otel.export.mapping.decoding import records_of
from pandaprobe_otel.export.mapping.messages import chat_messages
from pandaprobe_otel.export.mapping.traces import to_traces
from pandaprobe_otel.export.processor import ExportProcessor, Pipeline
from pandaprobe_otel.export.spool import Spool, project_key
from pandaprobe_otel.session.stamping import SessionSpanProcessor, unseen
from pandaprobe_otel.settings import resolve

SECRET = "correct horse"


class Sender:
    """The processors of `init()`, an exporter of the user's, and what has arrived."""

    def __init__(self, receiver: Receiver, **settings: Any) -> None:
        self.receiver = receiver
        wanted = {"endpoint": receiver.url, "flush_interval": 60, "protocol": "otlp", "spool_dir": "off"}
        self.processor = ExportProcessor()
        wanted |= {"export": "all", **settings}
        self.pipeline = Pipeline(resolve(wanted), self.processor.lineage, unseen)
        self.processor.use(self.pipeline)
        self.theirs = InMemorySpanExporter()
        resource = Resource({"service.name": "shop", "host.name": SECRET})
        self.tracer_provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        for processor in (SessionSpanProcessor(), self.processor, SimpleSpanProcessor(self.theirs)):
            self.tracer_provider.add_span_processor(processor)
        self.tracer = self.tracer_provider.get_tracer("theirs", attributes={"scope": SECRET})

    def sent(self, **attributes: Any) -> dict[str, Any]:
        """What arrives of a span with these attributes."""
        self.tracer.start_span("span", Context(), attributes=attributes).end()
        return attributes_of(self.arrived())

    def arrived(self) -> Any:
        assert self.processor.flush(5)
        return self.receiver.spans[-1]

    def wire(self) -> str:
        """All that has arrived, as text."""
        assert self.processor.flush(5)
        return "\n".join(map(str, self.receiver.requests))


@pytest.fixture
def sender() -> Iterator[Callable[..., Sender]]:
    made: list[Sender] = []
    with Receiver() as receiver:

        def sender(**settings: Any) -> Sender:
            made.append(Sender(receiver, **settings))
            runtime.activate(made[-1])
            return made[-1]

        yield sender
        for each in made:
            each.processor.end(1)


def make_a_span_that_says_it_everywhere(sender: Sender) -> None:
    link = Link(SpanContext(1, 2, True, TraceFlags(1)), {"of": SECRET})
    span = sender.tracer.start_span("span", attributes={"text": SECRET, "list": ["a", SECRET]}, links=[link])
    span.add_event("event", {"text": SECRET})
    span.record_exception(ValueError(SECRET))
    span.set_status(Status(StatusCode.ERROR, SECRET))
    span.end()


def test_everything_that_a_span_says_goes_through_the_function(sender: Any) -> None:
    def redact(key: str, value: Any) -> Any:
        if isinstance(value, tuple):
            return [redact(key, item) for item in value]
        return value.replace(SECRET, "***") if isinstance(value, str) else value

    one = sender(redact=redact)
    make_a_span_that_says_it_everywhere(one)
    wire = one.wire()
    assert SECRET not in wire
    assert wire.count("***") >= 9
    span = one.arrived()
    assert attributes_of(span) == {"text": "***", "list": ["a", "***"]}
    assert span.status.message == "***"
    assert one.receiver.resource["host.name"] == "***"
    theirs = one.theirs.get_finished_spans()[0]
    assert theirs.attributes["text"] == theirs.status.description == SECRET, (
        "other exporters see what was said"
    )


def test_what_the_function_gets(sender: Any) -> None:
    seen: dict[str, Any] = {}
    one = sender(redact=seen.setdefault)
    make_a_span_that_says_it_everywhere(one)
    one.wire()
    assert set(seen) == {
        *("service.name", "host.name", "scope", "text", "list", "of"),
        *("exception.type", "exception.message", "exception.stacktrace", "exception.escaped"),
        "otel.status_description",
    }


def test_none_takes_an_attribute_out(sender: Any) -> None:
    one = sender(redact=lambda key, value: None if key == "text" else value)
    assert one.sent(text=SECRET, number=1) == {"number": 1}


def test_where_a_span_belongs_is_not_for_the_function_to_change(sender: Any) -> None:
    one = sender(redact=lambda key, value: None, export="genai")
    with (
        pandaprobe.session("s"),
        pandaprobe.user("u"),
        pandaprobe.start_trace("turn", input=SECRET) as turn,
        turn.span("call", kind="LLM"),
    ):
        pass
    assert one.processor.flush(5)
    records = [record for request in one.receiver.requests for record in records_of(request)]
    (trace,) = to_traces([record for record in records if record])
    assert (trace["trace_id"], trace["session_id"], trace["user_id"]) == (turn.trace_id, "s", None)
    assert [(span["name"], span["kind"]) for span in trace["spans"]] == [("call", "LLM")]
    assert SECRET not in one.wire()


def test_user_may_be_changed(sender: Any) -> None:
    one = sender(redact=lambda key, value: "pseudonym" if key == "user.id" else value)
    with pandaprobe.user("erika@example.com"):
        span = one.tracer.start_span("long")
    span.set_attributes({str(number): number for number in range(140)})
    span.end()
    assert attributes_of(one.arrived())["user.id"] == "pseudonym", "also where its attributes had overflowed"


def test_value_is_withheld_when_the_function_raises(sender: Any, caplog: pytest.LogCaptureFixture) -> None:
    def redact(key: str, value: Any) -> Any:
        raise ValueError(f"what about {value}?")

    one = sender(redact=redact)
    make_a_span_that_says_it_everywhere(one)
    make_a_span_that_says_it_everywhere(one)
    assert SECRET not in one.wire()
    assert attributes_of(one.arrived()) == {"text": "[redaction failed]", "list": "[redaction failed]"}
    assert one.arrived().status.message == "[redaction failed]"
    assert [record.getMessage() for record in caplog.records] == [
        "the redact function raised ValueError; what it was given is withheld"
    ]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (object(), "<object>"),
        ({1: {2}}, None),
        (10**30, str(10**30)),
        ("\ud800", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_what_cannot_be_encoded_becomes_text(sender: Any, given: Any, sent: Any) -> None:
    one = sender(redact=lambda key, value: given if key == "text" else value)
    arrived = one.sent(text=SECRET, other=1)
    assert arrived["other"] == 1
    assert sent is None or arrived["text"] == sent
    assert arrived["text"] != SECRET


def test_nothing_unredacted_is_on_the_disk(sender: Any, tmp_path: Path) -> None:
    away = "http://127.0.0.1:9"
    one = sender(redact=lambda key, value: "***", endpoint=away, spool_dir=str(tmp_path))
    one.tracer.start_span("kept", attributes={"text": SECRET}).end()
    assert not one.processor.end(0.5)
    spool = Spool.open(tmp_path, project_key(away, None, None), 10**9)
    spool.adopt()
    said = b"".join(gzip.decompress(item.body) for item in spool.take(10))
    spool.close()
    assert b"kept" in said
    assert SECRET.encode() not in said


CONTENTS = {
    "pandaprobe.input": SECRET,
    "pandaprobe.output": SECRET,
    "gen_ai.input.messages": SECRET,
    "gen_ai.output.messages": SECRET,
    "gen_ai.system_instructions": SECRET,
    "gen_ai.tool.call.arguments": SECRET,
    "gen_ai.tool.call.result": SECRET,
    "gen_ai.tool.definitions": SECRET,
    "gen_ai.prompt.0.content": SECRET,
    "gen_ai.completion.0.content": SECRET,
    "llm.request.functions.0.description": SECRET,
    "traceloop.entity.input": SECRET,
    "traceloop.entity.output": SECRET,
    "input.value": SECRET,
    "output.value": SECRET,
    "llm.input_messages.0.message.content": SECRET,
    "llm.output_messages.0.message.content": SECRET,
    "llm.invocation_parameters": SECRET,
    "llm.tools.0.tool.json_schema": SECRET,
    "llm.prompt_template.variables": SECRET,
    "retrieval.documents.0.document.content": SECRET,
    "embedding.embeddings.0.embedding.text": SECRET,
    "tool.parameters": SECRET,
    "tool_arguments": SECRET,
}


def test_contents_stay_here_when_they_are_not_to_be_captured(sender: Any) -> None:
    one = sender(capture_content=False)
    facts = {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 3, "gen_ai.request.model": "m"}
    span = one.tracer.start_span("span", attributes={**CONTENTS, **facts})
    span.add_event("gen_ai.user.message", {"content": SECRET})
    span.add_event("gen_ai.client.inference.operation.details", {"gen_ai.input.messages": SECRET})
    span.add_event("retry", {"number": 2})
    span.record_exception(ValueError(SECRET))
    span.set_status(StatusCode.ERROR, SECRET)
    span.end()
    arrived = one.arrived()
    assert attributes_of(arrived) == facts
    assert [event.name for event in arrived.events] == ["retry", "exception"]
    assert attributes_of(arrived.events[1])["exception.type"] == "ValueError"
    assert arrived.status.code == 2
    assert SECRET not in one.wire().replace(f'string_value: "{SECRET}"', "", 2), "but in resource and scope"


def test_traces_of_our_own_say_no_contents_either(sender: Any) -> None:
    one = sender(capture_content=False)
    question = {"messages": [{"role": "user", "content": SECRET}]}
    with (
        suppress(ValueError),
        pandaprobe.start_trace("turn", input=question, metadata={"kept": "yes"}) as turn,
        turn.span("call", kind="LLM", model="m") as span,
    ):
        span.set_output(SECRET)
        raise ValueError(SECRET)
    assert one.processor.flush(5)
    records = [record for request in one.receiver.requests for record in records_of(request)]
    (trace,) = to_traces([record for record in records if record])
    assert (trace["input"], trace["output"], trace["metadata"]["kept"]) == (None, None, "yes")
    assert trace["spans"][0]["error"] == "ValueError"
    assert SECRET not in json.dumps(trace)


IMAGE = bytes(range(256)) * 200
BASE64 = base64.b64encode(IMAGE).decode()
URL = f"data:image/png;base64,{BASE64}"


def summary(type: str) -> str:
    return f"[{type}, 51200 bytes, sha256 {hashlib.sha256(IMAGE).hexdigest()}]"


def messages(part: Any) -> list[Any]:
    return [{"role": "user", "content": [{"type": "text", "text": 'a "picture"'}, part]}]


@pytest.mark.parametrize(
    ("part", "type"),
    [
        ({"type": "blob", "modality": "image", "mime_type": "image/png", "content": BASE64}, "image/png"),
        ({"content": BASE64, "type": "blob", "mime_type": "audio/wav"}, "audio/wav"),
        ({"type": "image_url", "image_url": {"url": URL, "detail": "high"}}, "image/png"),
        ({"type": "input_audio", "input_audio": {"data": BASE64, "format": "wav"}}, "wav"),
        ({"type": "image", "source": {"media_type": "image/jpeg", "data": BASE64}}, "image/jpeg"),
        ({"inline_data": {"mimeType": "image/webp", "data": BASE64}}, "image/webp"),
    ],
)
@pytest.mark.parametrize(
    "written",
    [json.dumps, lambda value: json.dumps({"body": json.dumps(value)})],
    ids=["JSON", "JSON in JSON"],
)
def test_large_media_becomes_its_type_size_and_hash(sender: Any, part: Any, type: str, written: Any) -> None:
    one = sender()
    arrived = one.sent(**{"pandaprobe.input": written(messages(part))})["pandaprobe.input"]
    expected = json.loads(json.dumps(part).replace(URL, summary(type)).replace(BASE64, summary(type)))
    assert arrived == written(messages(expected))


def test_large_media_is_left_out_of_values_that_are_no_text(sender: Any) -> None:
    one = sender()
    arrived = one.sent(**{"urls": ["short", URL], "llm.image.url": URL})
    assert arrived == {"urls": ["short", summary("image/png")], "llm.image.url": summary("image/png")}


def test_media_that_an_attribute_limit_has_cut_off_is_left_out(sender: Any) -> None:
    one = sender()
    for cut in range(4):
        assert one.sent(text=URL[: -10_000 - cut])["text"].startswith("[image/png, ")


@pytest.mark.parametrize(
    "text",
    [
        "x" * 100_000,
        json.dumps(messages({"type": "text", "text": BASE64})),
        json.dumps(messages({"type": "text", "text": "words and " * 10_000})),
        f"data:image/png;base64,{BASE64[:40_000]}" + " " * 10_000,
    ],
    ids=["letters", "text", "words", "small media in a long text"],
)
def test_other_long_text_stays(sender: Any, text: str) -> None:
    assert sender().sent(text=text)["text"] == text


def test_limit_is_the_size_of_the_media_itself(sender: Any) -> None:
    assert sender(max_media_bytes=51_200).sent(text=URL)["text"] == URL
    assert sender(max_media_bytes=51_199).sent(text=URL)["text"] == summary("image/png")


def test_left_out_media_is_no_broken_image_in_pandaprobe(sender: Any) -> None:
    part = {"type": "blob", "modality": "image", "mime_type": "image/png", "content": BASE64}
    said = json.dumps([{"role": "user", "parts": [part]}])
    arrived = sender().sent(**{"gen_ai.input.messages": said})["gen_ai.input.messages"]
    (message,) = chat_messages(json.loads(arrived)) or ()
    assert message["content"] == [{"type": "image_url", "image_url": {"url": summary("image/png")}}]
