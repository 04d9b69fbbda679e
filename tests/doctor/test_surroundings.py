"""What doctor says of settings, OpenTelemetry, instrumentations and the spool."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import in_process
import pytest
from otlp_receiver import Receiver

from pandaprobe_otel.doctor import Report
from pandaprobe_otel.export.spool import Spool, project_key
from pandaprobe_otel.export.spool.peek import peek

Examine = Callable[..., Report]
Install = Callable[..., None]
KEY = "sk_pp_" + 60 * "0" + "beef"


def findings(report: Report) -> dict[str, str]:
    return {finding.text: finding.fix for finding in report.findings}


def test_every_setting_is_there_with_its_source(examined: Examine) -> None:
    with Receiver() as receiver:
        report = examined(
            receiver.url,
            PANDAPROBE_API_KEY=KEY,
            OTEL_BSP_SCHEDULE_DELAY="250",
            PANDAPROBE_REDACT="json:dumps",
        )
    settings = report.as_json()["settings"]
    assert settings["endpoint"] == {"value": receiver.url, "source": "PANDAPROBE_ENDPOINT"}
    assert settings["flush_interval"] == {"value": 0.25, "source": "OTEL_BSP_SCHEDULE_DELAY"}
    assert settings["batch_size"] == {"value": 128, "source": "default"}
    assert settings["api_key"] == {"value": "sk_pp_…beef", "source": "PANDAPROBE_API_KEY"}
    assert settings["redact"] == {"value": "json:dumps", "source": "PANDAPROBE_REDACT"}


@pytest.mark.parametrize("key", [KEY, "short"])
def test_secrets_are_not_in_the_report(examined: Examine, key: str) -> None:
    with Receiver() as receiver:
        endpoint = receiver.url.replace("//", "//me:hunter2@")
        report = examined(endpoint, PANDAPROBE_API_KEY=key)
    for text in (report.as_text(), str(report.as_json())):
        assert key not in text
        assert "hunter2" not in text


def test_missing_and_unreadable_settings_are_named_with_the_fix(examined: Examine) -> None:
    report = examined(PANDAPROBE_TIMEOUT="soon")
    assert [finding.text for finding in report.findings if finding.stops] == [
        "PANDAPROBE_API_KEY is not set",
        "PANDAPROBE_PROJECT_NAME is not set",
    ]
    assert "PANDAPROBE_TIMEOUT: 'soon' is not accepted; it takes a number of seconds above 0" in findings(
        report
    )
    assert report.as_json()["delivery"]["test_span"] == "not sent; see above"


@pytest.mark.parametrize("variable", ["PANDAPROBE_ENABLED", "OTEL_SDK_DISABLED"])
def test_nothing_is_sent_when_it_is_off(examined: Examine, variable: str) -> None:
    off = {"PANDAPROBE_ENABLED": "false", "OTEL_SDK_DISABLED": "true"}[variable]
    with Receiver() as receiver:
        report = examined(receiver.url, **{variable: off})
    assert not report.arrives
    assert receiver.paths == []
    assert f"PandaProbe is off by {variable}" in findings(report)


def test_sdk_that_is_off_stops_us_too(examined: Examine) -> None:
    with Receiver() as receiver:
        report = examined(receiver.url, OTEL_SDK_DISABLED="true", PANDAPROBE_ENABLED="true")
    assert not report.arrives
    assert (
        findings(report)["OTEL_SDK_DISABLED=true: OpenTelemetry makes no spans"] == "unset OTEL_SDK_DISABLED"
    )


def test_sessions_that_are_all_dropped_stop_spans(examined: Examine) -> None:
    with Receiver() as receiver:
        report = examined(receiver.url, PANDAPROBE_SESSION_SAMPLE_RATE="0")
    assert not report.arrives
    assert "no session is sent: PANDAPROBE_SESSION_SAMPLE_RATE is 0" in findings(report)


def test_sampler_that_drops_everything_stops_spans(examined: Examine) -> None:
    with Receiver() as receiver:
        report = examined(receiver.url, OTEL_TRACES_SAMPLER="always_off")
    assert not report.arrives
    assert "the sampler (AlwaysOffSampler) drops every span" in findings(report)


def test_sampler_that_keeps_some_traces_is_noted(examined: Examine) -> None:
    with Receiver() as receiver:
        report = examined(
            receiver.url, OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0.25"
        )
    assert report.arrives
    note = "the sampler keeps 25 % of the traces: sessions have gaps"
    assert "PANDAPROBE_SESSION_SAMPLE_RATE" in findings(report)[note]


PROVIDER = """
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
import pandaprobe_otel as pandaprobe
from pandaprobe_otel.doctor import examine

provider = TracerProvider(sampler=ALWAYS_OFF)
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
pandaprobe.init()
report = examine()
tell(opentelemetry=report.as_json()["opentelemetry"], arrives=report.arrives)
"""


def test_provider_in_charge_is_shown_with_its_processors_in_order() -> None:
    with Receiver() as receiver:
        told = in_process.run(PROVIDER, PANDAPROBE_ENDPOINT=receiver.url, PANDAPROBE_SPOOL_DIR="off").told
    assert told["opentelemetry"]["provider"] == "opentelemetry.sdk.trace.TracerProvider"
    assert told["opentelemetry"]["processors"] == [
        "BatchSpanProcessor (OTLPSpanExporter)",
        "SessionSpanProcessor",
        "ExportProcessor",
    ]
    assert told["opentelemetry"]["sampler"] == "AlwaysOffSampler"
    assert told["arrives"] is False


def test_provider_that_is_set_up_without_code_is_shown() -> None:
    with Receiver() as receiver:
        run = subprocess.run(
            [
                str(Path(sys.executable).with_name("opentelemetry-instrument")),
                *(sys.executable, "-m", "pandaprobe_otel", "doctor", "--json"),
            ],
            env={
                **in_process.clean_environment(),
                "PANDAPROBE_ENDPOINT": receiver.url,
                "PANDAPROBE_SPOOL_DIR": "off",
            },
            capture_output=True,
            text=True,
            check=True,
        )
    report = json.loads(run.stdout)
    assert report["opentelemetry"]["processors"] == ["SessionSpanProcessor", "ExportProcessor"]
    assert [span.name for span in receiver.spans] == ["pandaprobe-otel doctor"]


FOREIGN = """
from opentelemetry import trace
from pandaprobe_otel.doctor import examine

class Foreign(trace.TracerProvider):
    def get_tracer(self, *args, **kwargs):
        return trace.NoOpTracer()

trace.set_tracer_provider(Foreign())
tell(findings=[finding.text for finding in examine().findings])
"""


def test_provider_that_takes_no_processors_is_noted() -> None:
    with Receiver() as receiver:
        told = in_process.run(FOREIGN, PANDAPROBE_ENDPOINT=receiver.url, OTEL_PROPAGATORS="tracecontext").told
    assert told["findings"] == [
        "the provider (__main__.Foreign) takes no span processors: only spans of this package arrive",
        "no propagator for baggage: sessions do not reach other services",
    ]


def test_configuration_file_that_nobody_reads_here_is_noted(examined: Examine) -> None:
    with Receiver() as receiver:
        report = examined(receiver.url, OTEL_CONFIG_FILE="otel.yaml")
    note = "OTEL_CONFIG_FILE is read only where a program is started by opentelemetry-instrument"
    assert findings(report)[note] == "opentelemetry-instrument pandaprobe-otel doctor"


def test_competitors_for_the_distro_are_shown(examined: Examine, install: Install) -> None:
    install("one-distro", opentelemetry_distro="one", opentelemetry_configurator="one")
    install("other-distro", opentelemetry_distro="other")
    with Receiver() as receiver:
        report = examined(receiver.url)
    shown = report.as_json()["zero_code"]["distros"]
    assert {"one of one-distro", "other of other-distro"} <= {*shown}
    fix = findings(report)["several distros are installed, and which one is taken is left to chance"]
    assert fix.startswith("set OTEL_PYTHON_DISTRO to the one that you want: ")


def test_distro_that_is_misspelt_is_found(examined: Examine, install: Install) -> None:
    install("one-distro", opentelemetry_distro="one")
    with Receiver() as receiver:
        report = examined(receiver.url, OTEL_PYTHON_DISTRO="onne")
    assert "OTEL_PYTHON_DISTRO=onne names nothing that is installed: nothing is configured" in findings(
        report
    )


def test_library_that_is_instrumented_twice_is_found(examined: Examine, install: Install) -> None:
    install("qwen-agent")
    for name in ("opentelemetry-instrumentation-genai-qwen-agent", "another-instrumentation"):
        install(name, opentelemetry_instrumentor="qwen-agent")
    with Receiver() as receiver:
        found = findings(examined(receiver.url))
    note = (
        "another-instrumentation and opentelemetry-instrumentation-genai-qwen-agent all instrument qwen-agent"
    )
    assert found[note] == "uninstall all but one"


def test_instrumentation_that_is_missing_is_named(examined: Examine, install: Install) -> None:
    install("qwen-agent", version="0.0.30")
    with Receiver() as receiver:
        report = examined(receiver.url)
    (note,) = [text for text in findings(report) if "genai-qwen-agent>=1.0b0 would do it" in text]
    assert findings(report)[note] == "pandaprobe-otel bootstrap --install"
    (line,) = [line for line in report.as_json()["instrumentations"]["libraries"] if "qwen" in line]
    assert line == "qwen-agent 0.0.30: opentelemetry-instrumentation-genai-qwen-agent, missing"


def spool_of(folder: Path, endpoint: str, project: str | None = None) -> Spool:
    return Spool.open(folder / "spool", project_key(endpoint, project, None), 1 << 20)


def test_spool_of_a_running_process_is_shown_and_left_to_it(examined: Examine, tmp_path: Path) -> None:
    with Receiver() as receiver:
        spool = spool_of(tmp_path, receiver.url)
        other = spool_of(tmp_path, receiver.url, "another")
        for held, count in ((spool, 2), (spool, 3), (other, 7)):
            held.put("spans", b"12345", count)
        spool.set_aside(spool.put("spans", b"12345", 11), "HTTP 400")
        report = examined(receiver.url)
        shown: dict[str, Any] = report.as_json()["spool"]
        assert len(spool.take(16, besides=())) == 2
        spool.close()
        other.close()
    assert (shown["items"], shown["spans"], shown["bytes"]) == (2, 5, 10)
    assert shown["oldest"].endswith(" seconds")
    assert shown["set_aside"] == 11
    assert shown["other_projects"] == "7 spans for another endpoint, project or key"
    assert "11 spans were set aside, they are not tried again: HTTP 400" in findings(report)


def test_spool_of_a_process_that_is_gone_is_shown_and_not_adopted(tmp_path: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from pandaprobe_otel.export.spool import Spool
spool = Spool.open(Path(os.environ["FOLDER"]), "p", 1 << 20)
spool.put("spans", b"123", 4)
tell(put=True)
sys.stdout.flush()
os._exit(0)
"""
    in_process.run(program, FOLDER=str(tmp_path))
    before = sorted(path.name for path in (tmp_path / "p").iterdir())
    waiting = peek(tmp_path / "p")
    assert (waiting.load.items, waiting.load.spans, waiting.load.bytes, waiting.files) == (1, 4, 3, 1)
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == before


def test_damaged_file_is_counted(tmp_path: Path) -> None:
    (tmp_path / "1-0000.db").write_bytes(b"no database at all" * 100)
    assert peek(tmp_path).unreadable == 1


def test_spool_that_is_off_is_said(examined: Examine) -> None:
    with Receiver() as receiver:
        report = examined(receiver.url, PANDAPROBE_SPOOL_DIR="off")
    assert report.as_json()["spool"] == {"folder": "none: what is not sent yet is lost with the process"}


def test_text_fits_into_80_columns_and_json_has_its_shape(examined: Examine) -> None:
    with Receiver() as receiver:
        report = examined(
            receiver.url, OTEL_TRACES_SAMPLER="always_off", PANDAPROBE_PROPAGATE_TO="a.example,b"
        )
    lines = report.as_text().splitlines()
    assert lines[0].startswith("A span would NOT arrive in PandaProbe at ")
    assert lines[2].startswith("  ! ")
    # Paths are not broken.
    assert [line for line in lines if len(line) > 80 and "/" not in line] == []
    assert "propagate_to        a.example, b (PANDAPROBE_PROPAGATE_TO)" in report.as_text()
    shape = {key: [*value] for key, value in report.as_json().items() if isinstance(value, dict)}
    assert [*report.as_json()][:3] == ["arrives", "destination", "findings"]
    assert [*report.as_json()["findings"][0]] == ["stops", "text", "fix"]
    assert shape.pop("settings")
    assert shape.pop("instrumentations")[-1] == "disabled"
    assert shape == {
        "delivery": ["wire", "test_span", "OTLP", "clock", "REST"],
        "spool": ["folder", "items", "spans", "bytes", "oldest", "set_aside", "other_projects"],
        "opentelemetry": ["provider", "processors", "sampler", "propagators", "threads"],
        "zero_code": ["distros", "configurators", "instrumentors"],
    }


def test_page_of_the_docs_explains_every_section(examined: Examine) -> None:
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
    with Receiver() as receiver:
        titles = [section.title for section in examined(receiver.url).sections]
    assert re.findall(r"^\| ([A-Z]\w+(?: \w+)*) \|", page, re.MULTILINE) == titles
    assert re.findall(r"^([A-Z]\w+(?: \w+)?)$", page, re.MULTILINE) == titles
