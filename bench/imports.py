"""What an import costs, in fresh processes."""

import subprocess
import sys
from statistics import median

STATEMENTS = {
    "import pandaprobe_otel": "import pandaprobe_otel",
    "pandaprobe_otel, and `init` used": "import pandaprobe_otel; pandaprobe_otel.init",
    "import opentelemetry.sdk.trace": "import opentelemetry.sdk.trace",
    "the same, with batches and the OTLP/HTTP exporter": (
        "import opentelemetry.sdk.trace.export, opentelemetry.exporter.otlp.proto.http.trace_exporter"
    ),
}
_TIMED = """
import sys, time
modules, start = len(sys.modules), time.perf_counter()
{statement}
print((time.perf_counter() - start) * 1000, len(sys.modules) - modules)
"""


def measure(rounds: int = 15) -> dict[str, tuple[float, int]]:
    """Milliseconds (the median) and modules of every statement."""
    times: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    modules = dict.fromkeys(STATEMENTS, 0)
    for _ in range(rounds):
        for name, statement in STATEMENTS.items():
            command = [sys.executable, "-c", _TIMED.format(statement=statement)]
            took, loaded = subprocess.check_output(command, text=True).split()
            times[name].append(float(took))
            modules[name] = int(loaded)
    return {name: (median(times[name]), modules[name]) for name in STATEMENTS}


def print_imports() -> None:
    print("\n| import | ms | modules |\n|---|---|---|")
    for name, (took, loaded) in measure().items():
        print(f"| {name} | {took:.0f} | {loaded} |")


if __name__ == "__main__":
    print_imports()
