"""Instructions per span, which do not depend on what else the machine does; needs valgrind.

`python bench/instructions.py [VARIANT ...]`
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from run import BASELINE, Worker, running_sink
from workload import SPANS_PER_TURN

TURNS = 200
WARM_UP = 30
_TOTAL = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)


def count(name: str, sink: str) -> tuple[float, float]:
    """Instructions per span, of the caller's thread and of the whole process."""
    with tempfile.TemporaryDirectory() as folder:
        valgrind = [
            "valgrind",
            "--tool=callgrind",
            "--instr-atstart=no",
            "--separate-threads=yes",
            f"--callgrind-out-file={folder}/out",
        ]
        worker = Worker(name, sink, valgrind, {**os.environ, "PYTHONHASHSEED": "0"})
        if not worker.ready():
            sys.exit(1)
        worker.round(WARM_UP)
        worker.collect()
        _switch(worker.pid, "on")
        worker.round(TURNS)
        _switch(worker.pid, "off")
        worker.stop()
        threads = {
            path.name: int(_TOTAL.findall(path.read_text())[-1]) for path in Path(folder).glob("out*-*")
        }
    spans = TURNS * SPANS_PER_TURN
    return next(total for name, total in threads.items() if name.endswith("-01")) / spans, sum(
        threads.values()
    ) / spans


def _switch(pid: int, state: str) -> None:
    subprocess.run(["callgrind_control", f"--instr={state}", str(pid)], check=True, capture_output=True)


def main() -> None:
    if not shutil.which("valgrind"):
        sys.exit("valgrind is not installed")
    with running_sink() as sink:
        names = dict.fromkeys([BASELINE, *(sys.argv[1:] or ["joined", "manual"])])
        counts = {name: count(name, sink) for name in names}
    of_bare = counts[BASELINE]
    print("| variant | instructions/span, caller | ratio | instructions/span, process | ratio |")
    print("|---|---|---|---|---|")
    for name, (thread, process) in counts.items():
        print(
            f"| {name} | {thread:,.0f} | {thread / of_bare[0]:.3f}"
            f" | {process:,.0f} | {process / of_bare[1]:.3f} |"
        )


if __name__ == "__main__":
    main()
