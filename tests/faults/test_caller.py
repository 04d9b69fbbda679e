"""Whatever goes wrong, the thread that makes spans is not held up."""

from typing import Any

import pytest
from otlp_receiver import Answer, Receiver

# What the scheduler and the interpreter lock do to this thread is not ours to promise, so that
# * spans of a bare provider, whose exporter does no more than encode, are timed in turn with ours,
# * Python is asked to hand its lock over after 0.2 ms and not 5: any thread that computes holds it so long,
# * of eight windows of a thousand spans each the quietest counts: every one of them sees some eight batches
#   leave, and would see whatever a batch has to wait for.
# CPU time has less of such noise, and counts for all spans together.
# Coverage traces our code and nobody else's.
CODE = """
if "coverage" in sys.modules: sys.modules["coverage"].Coverage.current().stop()
import gc, gzip
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

class Nowhere(SpanExporter):
    def export(self, spans):
        gzip.compress(encode_spans(spans).SerializeToString())
        return SpanExportResult.SUCCESS

def timed(tracer):
    text = os.urandom(200).hex()
    cpu, wall = time.thread_time_ns(), time.perf_counter_ns()
    tracer.start_span("span", attributes={"text": text}).end()
    wall, cpu = time.perf_counter_ns() - wall, time.thread_time_ns() - cpu
    return wall, cpu

def p999(times):
    return sorted(times)[-len(times) // 1000 - 1] / 1e6

sys.setswitchinterval(0.0002)
bare = TracerProvider()
bare.add_span_processor(BatchSpanProcessor(Nowhere(), max_export_batch_size=128))
theirs, ours = bare.get_tracer("theirs"), trace.get_tracer("theirs")
make(500)
gc.disable()
large = int(os.environ.get("LARGE", "0"))
control, measured, control_cpus, cpus = [], [], [], []
for window in range(8):
    pairs = []
    if large: ours.start_span("large", attributes={"text": "x" * large}).end()
    for number in range(1000):
        pairs.append((timed(theirs), timed(ours)))
        if number % 20 == 0: time.sleep(0.001)
    control.append(p999([their[0] for their, _ in pairs]))
    measured.append(p999([our[0] for _, our in pairs]))
    control_cpus += [their[1] for their, _ in pairs]
    cpus += [our[1] for _, our in pairs]
spooled = pandaprobe.get_client().stats().spooled
tell(control=[min(control), p999(control_cpus)], measured=[min(measured), p999(cpus)], spooled=spooled)
os._exit(0)
"""
SMALL_FILES = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))"


@pytest.mark.parametrize(
    ("answer", "environment", "before"),
    [
        ((200, {}, b""), {}, ""),
        ((503, {}, b""), {}, ""),
        ((401, {}, b""), {}, ""),
        (None, {}, ""),
        ((503, {}, b""), {}, SMALL_FILES),
        ((503, {}, b""), {"PANDAPROBE_SPOOL_MAX_BYTES": "100000"}, ""),
        ((200, {}, b""), {"LARGE": "20000000"}, ""),
    ],
    ids=["no fault", "503", "401", "black hole", "disk full", "spool full", "spans of 20 MB"],
)
def test_span_holds_its_thread_up_for_less_than_a_millisecond(
    run: Any, answer: Answer, environment: dict[str, str], before: str
) -> None:
    # Without a session, as in the control.
    environment = {"PANDAPROBE_EXPORT": "all", **environment}
    # What holds the thread up by itself does so each time; a neighbour on the machine does not.
    for _ in range(3):
        told = measure(run, answer, environment, before)
        assert told["spooled"] > 7_000, "batches left meanwhile"
        held_up = [
            ours > max(1.0, 2 * theirs)
            for ours, theirs in zip(told["measured"], told["control"], strict=True)
        ]
        if not any(held_up):
            return
    pytest.fail(f"p99.9 of wall and CPU time in ms: {told['measured']}, bare {told['control']}")


def measure(run: Any, answer: Answer, environment: dict[str, str], before: str) -> dict[str, Any]:
    with Receiver(*[answer] * 10_000) as receiver, run(receiver.url, before + CODE, **environment) as program:
        assert program.end() == 0
    return program.told
