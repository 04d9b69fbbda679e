"""Beside OpenTelemetry's own SDK, in every order; the vendors' are in tests/integration."""

import re
from pathlib import Path

import in_process
import pytest
from coexistence import PLAIN, SPANS, Neighbour, Run, check, table
from in_process import INSTRUMENT
from otlp_receiver import Receiver, attributes_of

SDK = PLAIN[0]
VERSION = r"` [\w.]+ \|"


@pytest.mark.parametrize("neighbour", PLAIN, ids=lambda neighbour: neighbour.name)
def test_the_sdk_receives_what_it_received_and_pandaprobe_its_own(neighbour: Neighbour) -> None:
    baseline = Run(neighbour, "theirs", alone=True)
    check(neighbour, baseline, Run(neighbour, f"theirs ours{neighbour.then}"))
    if neighbour is SDK:
        check(neighbour, baseline, Run(neighbour, "ours theirs"))


def test_a_program_that_sets_up_the_sdk_itself_may_run_under_opentelemetry_instrument() -> None:
    """Our configurator is called first there, and must not be the one that OpenTelemetry keeps."""
    baseline = Run(SDK, "theirs", alone=True, under=INSTRUMENT)
    assert {span.name for span in baseline.theirs} == SPANS
    check(SDK, baseline, Run(SDK, "theirs", under=INSTRUMENT, BAGGAGE="session.id=s"))


def test_a_second_project_sees_a_stamp_that_the_others_do_not_see() -> None:
    (projects,) = [neighbour for neighbour in PLAIN if neighbour.then]
    baseline = Run(projects, "theirs", alone=True)
    both = Run(projects, f"theirs ours{projects.then}", PANDAPROBE_STAMP="own")
    assert both.seen_by_them() == baseline.seen_by_them()
    check(projects, baseline, both)


@pytest.mark.parametrize("steps", ["theirs ours", "ours theirs"])
def test_the_stamp_of_our_own_changes_nothing_at_all(steps: str) -> None:
    baseline, both = Run(SDK, "theirs", alone=True), Run(SDK, steps, PANDAPROBE_STAMP="own")
    assert both.seen_by_them() == baseline.seen_by_them()
    check(SDK, baseline, both)


def test_sampler_by_ratio_drops_some_of_the_program_and_keeps_some() -> None:
    """Without this, the row of the table could say anything."""
    (ratio,) = [neighbour for neighbour in PLAIN if "ratio" in neighbour.name]
    assert 0 < len(Run(ratio, "theirs", alone=True).theirs) < len(SPANS)


def test_a_provider_that_is_set_after_ours_is_the_global_one_and_no_warning_is_logged() -> None:
    """Tracers that were made and used in between, ours among them, make their spans there from then on."""
    with Receiver() as receiver:
        ended = in_process.run(
            f"""
            import pandaprobe_otel as pandaprobe
            from opentelemetry.trace import get_tracer, get_tracer_provider, set_tracer_provider
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import SimpleSpanProcessor
            from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
            client = pandaprobe.init(endpoint="{receiver.url}")
            early = get_tracer("early")
            theirs = InMemorySpanExporter()
            provider = TracerProvider(resource=Resource({{"service.name": "theirs"}}))
            provider.add_span_processor(SimpleSpanProcessor(theirs))
            with pandaprobe.session("s"):
                open_span = early.start_span("open")
                early.start_span("before").end()
                set_tracer_provider(provider)
                open_span.end()
                early.start_span("after").end()
                with pandaprobe.start_trace("turn"): pass
            with pandaprobe.session("t"):
                pandaprobe.init(endpoint="{receiver.url}", release="2")
                early.start_span("renewed").end()
            tell(
                same=get_tracer_provider() is provider,
                theirs=[span.name for span in theirs.get_finished_spans()],
                resource=theirs.get_finished_spans()[0].resource.attributes["service.name"],
                flushed=pandaprobe.flush(),
            )
            """
        )
    assert ended.told == {
        "same": True,
        "theirs": ["after", "turn", "renewed"],
        "resource": "theirs",
        "flushed": True,
    }
    assert sorted(span.name for span in receiver.spans) == ["after", "before", "open", "renewed", "turn"]
    assert not ended.errors


def test_two_projects_receive_the_spans_of_one_provider_each_once() -> None:
    with Receiver() as first, Receiver() as second:
        ended = in_process.run(
            f"""
            import pandaprobe_otel as pandaprobe
            from opentelemetry import trace
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            pandaprobe.init(endpoint="{first.url}", project_name="first")
            other = pandaprobe.PandaProbeSpanExporter(endpoint="{second.url}", project_name="second")
            trace.get_tracer_provider().add_span_processor(BatchSpanProcessor(other))
            with pandaprobe.session("s"), pandaprobe.start_trace("turn") as turn, turn.span("step"): pass
            tell(flushed=trace.get_tracer_provider().force_flush())
            """
        )
    assert ended.told == {"flushed": True}
    for receiver, project in ((first, "first"), (second, "second")):
        assert sorted(span.name for span in receiver.spans) == ["step", "turn"]
        assert {attributes_of(span)["session.id"] for span in receiver.spans} == {"s"}
        assert {headers["X-Project-Name"] for headers in receiver.headers} == {project}


def test_two_providers_send_each_its_own_spans_to_its_own_project() -> None:
    with Receiver() as first, Receiver() as second:
        ended = in_process.run(
            f"""
            import pandaprobe_otel as pandaprobe
            from opentelemetry import trace
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            pandaprobe.init(endpoint="{first.url}", project_name="first")
            other = pandaprobe.PandaProbeSpanExporter(endpoint="{second.url}", project_name="second")
            provider = TracerProvider()
            provider.add_span_processor(pandaprobe.SessionSpanProcessor())
            provider.add_span_processor(BatchSpanProcessor(other))
            with pandaprobe.session("s"):
                trace.get_tracer("theirs").start_span("of the first").end()
                span = provider.get_tracer("theirs").start_span("of the second")
                # More than a span holds: the oldest, which is the session, goes.
                span.set_attributes({{str(number): number for number in range(200)}})
                span.end()
            tell(flushed=[pandaprobe.flush(), provider.force_flush()])
            """
        )
    assert ended.told == {"flushed": [True, True]}
    for receiver, name in ((first, "of the first"), (second, "of the second")):
        (span,) = receiver.spans
        assert (span.name, attributes_of(span)["session.id"]) == (name, "s")


def test_the_documentation_names_everyone_who_was_tried() -> None:
    written = (Path(__file__).parents[2] / "docs/coexistence.md").read_text()
    rows = "".join(line for line in written.splitlines(keepends=True) if line.startswith("|"))
    assert re.sub(VERSION, "` ? |", rows) == table({})
