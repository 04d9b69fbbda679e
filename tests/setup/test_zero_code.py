"""`opentelemetry-instrument`: the entry points that it finds, run as it runs them."""

from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import in_process
import pytest
from in_process import INSTRUMENT
from otlp_receiver import Receiver, attributes_of

from pandaprobe_otel.local.fake_openai import FakeOpenAI

# Without a word about telemetry.
CHAT = """
import openai
question = {"role": "user", "content": "What is the capital of France?"}
openai.OpenAI().chat.completions.create(model="gpt-5.4-nano", messages=[question])
"""
# The same where no model is needed; to import the client of one takes a second.
NO_MODEL = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"}
WORK = """
from opentelemetry import trace
trace.get_tracer("theirs").start_span("work", attributes={"gen_ai.operation.name": "chat"}).end()
"""
CONTENT = {"gen_ai.input.messages", "gen_ai.output.messages"}


@pytest.fixture(autouse=True)
def _openai(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with FakeOpenAI() as fake:
        monkeypatch.setenv("OPENAI_BASE_URL", fake.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        yield


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def test_llm_spans_of_a_program_without_telemetry_arrive_with_their_messages(receiver: Receiver) -> None:
    ended = in_process.run(CHAT, under=INSTRUMENT, PANDAPROBE_ENDPOINT=receiver.url)
    (span,) = receiver.spans
    assert span.name == "chat gpt-5.4-nano"
    assert attributes_of(span).keys() >= CONTENT
    assert receiver.resource["telemetry.distro.name"] == "pandaprobe-otel"
    assert not ended.errors


def test_messages_stay_here_where_content_is_not_to_be_captured(receiver: Receiver) -> None:
    in_process.run(
        CHAT, under=INSTRUMENT, PANDAPROBE_ENDPOINT=receiver.url, PANDAPROBE_CAPTURE_CONTENT="false"
    )
    (span,) = receiver.spans
    assert not attributes_of(span).keys() & CONTENT


def test_a_variable_that_is_set_stays(receiver: Receiver) -> None:
    in_process.run(
        CHAT,
        under=INSTRUMENT,
        PANDAPROBE_ENDPOINT=receiver.url,
        OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="NO_CONTENT",
    )
    (span,) = receiver.spans
    assert not attributes_of(span).keys() & CONTENT


@pytest.mark.parametrize(
    "off",
    [{}, {"PANDAPROBE_ENABLED": "false"}, {"OTEL_SDK_DISABLED": "true"}],
    ids=["no key", "disabled", "SDK disabled"],
)
def test_nothing_is_sent_or_said_without_a_key_or_when_disabled(
    off: dict[str, str], receiver: Receiver
) -> None:
    endpoint = {"PANDAPROBE_ENDPOINT": receiver.url} if off else {}
    ended = in_process.run(WORK, under=INSTRUMENT, **NO_MODEL, **endpoint, **off)
    assert not receiver.paths
    assert not ended.errors


def test_a_key_without_a_project_is_said(receiver: Receiver) -> None:
    ended = in_process.run(WORK, under=INSTRUMENT, **NO_MODEL, PANDAPROBE_API_KEY="sk_pp_secret")
    assert ended.errors.count("nothing is traced: set PANDAPROBE_PROJECT_NAME, or call init()") == 1


SESSION = """
import pandaprobe_otel as pandaprobe
from opentelemetry import trace
pandaprobe.init()
with pandaprobe.session("s"):
    trace.get_tracer("theirs").start_span("work").end()
pandaprobe.flush()
"""


def test_hook_and_init_and_named_exporter_together_export_each_span_once() -> None:
    with Receiver() as theirs, Receiver() as ours:
        ended = in_process.run(
            SESSION,
            under=INSTRUMENT,
            **NO_MODEL,
            PANDAPROBE_ENDPOINT=ours.url,
            OTEL_TRACES_EXPORTER="pandaprobe,otlp",
            OTEL_EXPORTER_OTLP_ENDPOINT=theirs.url,
            OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        )
    for receiver in (theirs, ours):
        (span,) = receiver.spans
        assert attributes_of(span)["session.id"] == "s"
    assert "PandaProbe" not in ended.errors


def test_an_exporter_named_beside_init_does_not_replace_what_init_was_told(receiver: Receiver) -> None:
    in_process.run(
        f"""
        import pandaprobe_otel as pandaprobe
        from importlib.metadata import entry_points
        from opentelemetry import trace
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        pandaprobe.init(endpoint="{receiver.url}", release="of init")
        (named,) = entry_points(group="opentelemetry_traces_exporter", name="pandaprobe")
        trace.get_tracer_provider().add_span_processor(BatchSpanProcessor(named.load()()))
        with pandaprobe.start_trace("turn"): pass
        pandaprobe.flush()
        """,
        PANDAPROBE_ENDPOINT="http://127.0.0.1:9",
    )
    assert [span.name for span in receiver.spans] == ["turn"]
    assert receiver.resource["service.version"] == "of init"


def test_every_entry_point_has_our_name_and_loads() -> None:
    found = [
        point
        for point in metadata.distribution("pandaprobe-otel").entry_points
        if point.group.startswith("opentelemetry_")
    ]
    assert all(
        point.name == "pandaprobe"
        or (point.name.startswith("pandaprobe_") and point.group == "opentelemetry_instrumentor")
        for point in found
    )
    assert all(point.load() for point in found)
    roles = {point.group.removeprefix("opentelemetry_") for point in found}
    assert roles >= {"distro", "configurator", "traces_exporter", "propagator", "post_instrument"}
    assert "environment_variables" in roles


# Another distribution, as a package that is installed beside ours.
OTHER_DISTRO = """
import os
from opentelemetry.instrumentation.distro import BaseDistro
from opentelemetry.sdk._configuration import _OTelSDKConfigurator
class Distro(BaseDistro):
    def _configure(self, **kwargs):
        os.environ.setdefault("OTEL_TRACES_EXPORTER", "otlp")
        os.environ.setdefault("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
class Configurator(_OTelSDKConfigurator):
    def _configure(self, **kwargs):
        super()._configure(resource_attributes={"telemetry.distro.name": "other"}, **kwargs)
"""
ENTRY_POINTS = """
[opentelemetry_distro]
other_distro = other_distro:Distro
[opentelemetry_configurator]
other_configurator = other_distro:Configurator
"""


@pytest.fixture(params=["found first", "found last"])
def python_path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A PYTHONPATH with another distribution on it, which Python finds before ours or after it."""
    first = request.param == "found first"
    return in_process.path_with_other_distribution(tmp_path, OTHER_DISTRO, ENTRY_POINTS, first=first)


Guest = Callable[..., "in_process.Ended"]


@pytest.fixture
def guest(python_path: str) -> Guest:
    """Runs a program under the other distribution, whose exporter sends to `theirs`."""

    def run(program: str, theirs: Receiver, **environment: str) -> in_process.Ended:
        return in_process.run(
            program,
            under=INSTRUMENT,
            PYTHONPATH=python_path,
            **NO_MODEL,
            OTEL_EXPORTER_OTLP_ENDPOINT=theirs.url,
            OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
            **environment,
        )

    return run


@pytest.mark.parametrize("named", [{}, {"OTEL_PYTHON_DISTRO": "other_distro"}], ids=["installed", "named"])
def test_a_guest_receives_what_another_distribution_receives_and_changes_nothing_of_it(
    named: dict[str, str], guest: Guest
) -> None:
    with Receiver() as without:
        guest(WORK, without, **named)
    with Receiver() as theirs, Receiver() as ours:
        guest(WORK, theirs, **named, PANDAPROBE_ENDPOINT=ours.url)
    for receiver in (without, theirs, ours):
        assert [span.name for span in receiver.spans] == ["work"]
        assert receiver.resource["telemetry.distro.name"] == "other"


def test_a_guest_leaves_it_to_the_other_distribution_whether_messages_are_captured(guest: Guest) -> None:
    with Receiver() as theirs, Receiver() as ours:
        ended = guest(
            "import os; tell(names=[name for name in os.environ if 'GENAI' in name])",
            theirs,
            PANDAPROBE_ENDPOINT=ours.url,
        )
    assert ended.told == {"names": []}


def test_a_guest_that_is_disabled_sends_nothing_and_takes_nothing(guest: Guest) -> None:
    with Receiver() as theirs, Receiver() as ours:
        guest(WORK, theirs, PANDAPROBE_ENDPOINT=ours.url, PANDAPROBE_ENABLED="false")
    assert [span.name for span in theirs.spans] == ["work"]
    assert not ours.paths


@pytest.mark.parametrize("named", [{}, {"OTEL_TRACES_EXPORTER": "pandaprobe,otlp"}], ids=["", "and by name"])
def test_a_guest_with_init_exports_each_span_once(named: dict[str, str], guest: Guest) -> None:
    with Receiver() as theirs, Receiver() as ours:
        guest(SESSION, theirs, **named, PANDAPROBE_ENDPOINT=ours.url)
    for receiver in (theirs, ours):
        (span,) = receiver.spans
        assert attributes_of(span)["session.id"] == "s"


def test_a_guest_without_a_key_or_with_a_wrong_setting_takes_nothing_from_the_other(guest: Guest) -> None:
    with Receiver() as theirs:
        silent = guest(WORK, theirs)
        loud = guest(WORK, theirs, PANDAPROBE_ENDPOINT="http://127.0.0.1:9", PANDAPROBE_BATCH_SIZE="many")
    assert len(theirs.spans) == 2
    assert "PANDAPROBE" not in silent.errors
    assert "PANDAPROBE_BATCH_SIZE" in loud.errors


def test_our_distribution_is_in_charge_where_it_is_named(guest: Guest) -> None:
    with Receiver() as theirs, Receiver() as ours:
        guest(WORK, theirs, PANDAPROBE_ENDPOINT=ours.url, OTEL_PYTHON_DISTRO="pandaprobe")
    assert not theirs.paths
    assert [span.name for span in ours.spans] == ["work"]
    assert ours.resource["telemetry.distro.name"] == "pandaprobe-otel"
