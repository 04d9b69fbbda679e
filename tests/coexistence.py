"""Who stands beside PandaProbe in one process, what is run with and without it, and how that is compared."""

import json
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from in_process import clean_environment
from otlp_receiver import Receiver, attributes_of

SPANS = {"request", "chat m", "below", "in a pool", "failing"}
STAMP = {"session.id", "user.id"}
# What differs between any two runs.
VOLATILE = {"process_id", "runtime-id", "tracestate", "_dd.p.tid"}
# Logfire announces what is still open when a batch is due, 100 ms after it was set up: on a busy machine.
PASSING = ("logfire.span_type", "pending_span")


class Neighbour(NamedTuple):
    """Somebody else's OpenTelemetry.

    Attributes:
        name: As the table of the documentation has it.
        package: What is installed for it; its version is shown.
        setup: Code that sets it up to send to `THEIRS`, a URL; none for a distribution.
        environment: Variables that it needs; `{theirs}` is that URL.
        arrives: Which spans PandaProbe receives: all, or those that the other one receives, or none.
        note: What a user should know of the two together.
        leaves: Attributes that the other one adds to what carries a session.
        then: What is set up after `ours`.
    """

    name: str
    package: str
    setup: str = ""
    environment: Mapping[str, str] = MappingProxyType({})
    arrives: str = "all"
    note: str = ""
    leaves: Sequence[str] = ()
    then: str = ""


# `theirs()`, `ours()` and `second()` in the order that is asked for, then the work whose spans are compared.
PROGRAM = """
import os, random
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from opentelemetry import trace

random.seed(8)
early = trace.get_tracer("early")
THEIRS = os.environ["THEIRS"]
session = nullcontext

def theirs():
{setup}

def ours():
    global session
    import pandaprobe_otel as pandaprobe
    pandaprobe.init()
    session = lambda: pandaprobe.session("s")

def second():
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    import pandaprobe_otel as pandaprobe
    exporter = pandaprobe.PandaProbeSpanExporter(endpoint=os.environ["SECOND"], project_name="second")
    trace.get_tracer_provider().add_span_processor(BatchSpanProcessor(exporter))

for step in os.environ["STEPS"].split():
    globals()[step]()

tracer = trace.get_tracer("app")
genai = {{"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m"}}
with session(), ThreadPoolExecutor() as pool:
    with tracer.start_as_current_span("request", attributes={{"http.route": "/chat"}}) as span:
        with early.start_as_current_span("chat m", kind=trace.SpanKind.CLIENT, attributes=genai):
            tracer.start_span("below").end()
        pool.submit(lambda: tracer.start_span("in a pool").end()).result()
        span.set_attribute("http.response.status_code", 200)
with session(), tracer.start_as_current_span("failing") as span:
    span.set_status(trace.StatusCode.ERROR, "no")
getattr(trace.get_tracer_provider(), "force_flush", lambda: None)()
"""


class Seen(NamedTuple):
    """What arrived of a span, but for what no two runs have in common."""

    name: str
    parent: str
    kind: int
    status: int
    attributes: str


class Run:
    """The program beside a neighbour, in a process of its own, and what arrived at both sides.

    Args:
        steps: What the program sets up, in this order: `theirs`, `ours`, `second` (project).
        alone: Whether the environment knows nothing of PandaProbe.
        under: What Python is run by.
        variables: More of the environment.
    """

    def __init__(
        self,
        neighbour: Neighbour,
        steps: str,
        *,
        alone: bool = False,
        python: Path = Path(sys.executable),
        under: Sequence[str] = (),
        **variables: str,
    ) -> None:
        program = PROGRAM.format(setup=textwrap.indent(neighbour.setup or "pass", "    "))
        with Receiver() as theirs, Receiver() as ours, Receiver() as second:
            own = {name: text.format(theirs=theirs.url) for name, text in neighbour.environment.items()}
            pandaprobe = {
                "PANDAPROBE_ENDPOINT": ours.url,
                "PANDAPROBE_API_KEY": "sk_pp_x",
                "PANDAPROBE_PROJECT_NAME": "p",
                "PANDAPROBE_SPOOL_DIR": "off",
            }
            process = subprocess.run(
                [*under, str(python), "-c", program],
                env={
                    **clean_environment(),
                    "OTEL_EXPORTER_OTLP_ENDPOINT": theirs.url,
                    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                    "OTEL_METRICS_EXPORTER": "none",
                    "OTEL_LOGS_EXPORTER": "none",
                    **({} if alone else pandaprobe),
                    **own,
                    **variables,
                    "THEIRS": theirs.url,
                    "SECOND": second.url,
                    "STEPS": steps,
                },
                cwd=python.parent,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        assert process.returncode == 0, process.stderr
        self.errors = process.stderr
        self.theirs = [span for span in theirs.spans if PASSING not in attributes_of(span).items()]
        self.ours = ours.spans
        self.second = second.spans
        self.headers_of_second = second.headers

    def seen_by_them(self, without: Sequence[str] = ()) -> list[Seen]:
        return sorted(_seen(self.theirs, VOLATILE.union(without)))

    def parents(self, spans: list[Any]) -> dict[str, str]:
        return {seen.name: seen.parent for seen in _seen(spans, VOLATILE)}


def _seen(spans: list[Any], without: set[str]) -> list[Seen]:
    names = {span.span_id: span.name for span in spans}
    return [
        Seen(
            span.name,
            names.get(span.parent_span_id, "not received" if span.parent_span_id else "none"),
            span.kind,
            span.status.code,
            json.dumps(
                {key: value for key, value in attributes_of(span).items() if key not in without},
                sort_keys=True,
            ),
        )
        for span in spans
    ]


def check(neighbour: Neighbour, baseline: Run, both: Run) -> None:
    """Theirs receives what it received without us; PandaProbe receives its own, once, in the session."""
    before, after = baseline.seen_by_them(), both.seen_by_them({*STAMP, *neighbour.leaves})
    missing, more = Counter(before) - Counter(after), Counter(after) - Counter(before)
    assert not missing + more, f"missing: {[*missing]}\nmore: {[*more]}\n{both.errors}"
    expected = {"all": SPANS, "none": set[str](), "the same": {span.name for span in baseline.theirs}}
    assert sorted(span.name for span in both.ours) == sorted(expected[neighbour.arrives]), both.errors
    assert all(attributes_of(span)["session.id"] == "s" for span in both.ours)
    if len(baseline.theirs) == len(both.ours):
        assert both.parents(both.ours) == baseline.parents(baseline.theirs)
    if neighbour.then:
        assert sorted(span.name for span in both.second) == sorted(SPANS), both.errors
        assert all(attributes_of(span)["session.id"] == "s" for span in both.second)
    assert "failed inside PandaProbe" not in both.errors


_SDK = """
from opentelemetry.sdk.trace import TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
provider = TracerProvider(sampler={sampler})
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
"""
_UNSAMPLED_PARENT = """
from opentelemetry import context
parent = trace.SpanContext(1, 2, is_remote=True)
context.attach(trace.set_span_in_context(trace.NonRecordingSpan(parent)))
"""
_SDK_SETUP = _SDK.format(sampler="None")

PLAIN = (
    Neighbour("OpenTelemetry SDK", "opentelemetry-sdk", _SDK_SETUP),
    Neighbour(
        "…, two projects of PandaProbe",
        "opentelemetry-sdk",
        _SDK_SETUP,
        note="both receive them, the second by an exporter of its own",
        then=" second",
    ),
    Neighbour(
        "…, sampler off",
        "opentelemetry-sdk",
        _SDK.format(sampler="sampling.ALWAYS_OFF"),
        arrives="none",
        note="your sampler decides for PandaProbe too",
    ),
    Neighbour(
        "…, sampler by ratio",
        "opentelemetry-sdk",
        _SDK.format(sampler="sampling.TraceIdRatioBased(0.5)"),
        arrives="the same",
        note="`PANDAPROBE_SESSION_SAMPLE_RATE` keeps or drops whole sessions instead",
    ),
    Neighbour(
        "…, remote parent not sampled",
        "opentelemetry-sdk",
        _SDK_SETUP + _UNSAMPLED_PARENT,
        arrives="the same",
        note="the default sampler follows the caller, so those below that parent are dropped on both sides",
    ),
    Neighbour(
        "…, `OTEL_SDK_DISABLED=true`",
        "opentelemetry-sdk",
        _SDK_SETUP,
        {"OTEL_SDK_DISABLED": "true"},
        arrives="none",
        note="holds for PandaProbe too",
    ),
)

DISTRIBUTIONS = (
    Neighbour(
        "OpenTelemetry distro",
        "opentelemetry-distro",
        note="as everywhere below, messages are captured only if it captures them",
    ),
    Neighbour("Elastic (EDOT)", "elastic-opentelemetry"),
    Neighbour("Splunk", "splunk-opentelemetry"),
)

VENDORS = (
    Neighbour(
        "Logfire",
        "logfire",
        """
import logfire
logfire.configure(
    token="pylf_v1_us_x", console=False, inspect_arguments=False, send_to_logfire=True,
    advanced=logfire.AdvancedOptions(base_url=THEIRS),
)
""",
        note="its scrubber hides `session.id` in Logfire, and not in PandaProbe",
        leaves=("logfire.scrubbed",),
    ),
    Neighbour(
        "Langfuse",
        "langfuse",
        """
from langfuse import Langfuse
Langfuse(public_key="pk-lf-x", secret_key="sk-lf-x", base_url=THEIRS)
""",
        note="sends LLM spans only; it takes `session.id` for its own sessions",
    ),
    Neighbour(
        "Phoenix",
        "arize-phoenix-otel",
        """
from phoenix.otel import register
register(endpoint=THEIRS + "/v1/traces", verbose=False)
""",
        note="its exporter stays, which it takes away when others add a processor",
    ),
    Neighbour(
        "Traceloop",
        "traceloop-sdk",
        """
from traceloop.sdk import Traceloop
Traceloop.init(app_name="app", api_endpoint=THEIRS, api_key="x", disable_batch=True, instruments=set())
""",
        MappingProxyType({"TRACELOOP_TELEMETRY": "false"}),
        note="in threads, parents are as it sets them",
    ),
    Neighbour(
        "Sentry, as OTLP",
        "sentry-sdk",
        """
import sentry_sdk
from sentry_sdk.integrations.otlp import OTLPIntegration
sentry_sdk.init(dsn=THEIRS.replace("//", "//key@") + "/1", integrations=[OTLPIntegration()])
""",
        note="set up later, it replaces the propagators, and sessions go along in its baggage",
    ),
    Neighbour(
        "Datadog",
        "ddtrace",
        "import ddtrace.auto",
        MappingProxyType(
            {
                "DD_TRACE_OTEL_ENABLED": "true",
                "OTEL_TRACES_EXPORTER": "otlp",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "{theirs}/v1/traces",
                "DD_TRACE_AGENT_URL": "{theirs}",
                "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
                "DD_REMOTE_CONFIGURATION_ENABLED": "false",
            }
        ),
        arrives="none",
        note="its provider takes no processors: PandaProbe has the spans of its own API and wrappers only",
    ),
)


def table(versions: Mapping[str, str]) -> str:
    """The table of docs/coexistence.md."""
    rows = ["| beside | tested with | PandaProbe receives | |", "|---|---|---|---|"]
    words = {"all": "all spans of sessions", "none": "none of its spans", "the same": "the same spans"}
    for each in (*PLAIN, *DISTRIBUTIONS, *VENDORS):
        version = f"`{each.package}` {versions.get(each.package, '?')}"
        rows.append(f"| {each.name} | {version} | {words[each.arrives]} | {each.note} |")
    return "\n".join(rows) + "\n"
