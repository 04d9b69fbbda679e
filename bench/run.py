"""Compares tracing with and without pandaprobe-otel: `python bench/run.py [--rounds N] [--variants ...]`."""

import argparse
import json
import subprocess
import sys
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Literal

from imports import print_imports
from parts import print_parts
from variants import VARIANTS
from worker import Round
from workload import SPANS_PER_TURN

HERE = Path(__file__).parent
Clock = Literal["thread", "process"]

BASELINE = "bare"
# 2,000 spans: several batches of every variant are exported while spans are made, and even the smallest queue
# (2,048) holds them all, so that nobody is cheap by dropping.
TURNS = 500
WARM_UP = 3


class Worker:
    """A variant in a process of its own."""

    def __init__(
        self, name: str, sink: str, under: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [*under, sys.executable, str(HERE / "worker.py"), name, f"{sink}/{name}"],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> bool:
        """Whether the variant could be set up; says why where it could not."""
        assert self._process.stdout
        assert self._process.stderr
        if self._process.stdout.readline():
            return True
        reason = self._process.stderr.read().strip().splitlines()[-1:]
        print(f"{self.name} is left out: {''.join(reason)}")
        return False

    def collect(self) -> None:
        self._ask("collect")

    def round(self, turns: int) -> Round:
        return self._ask(turns)

    def _ask(self, what: object) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        print(what, file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        self._process.communicate()


@contextmanager
def running_sink() -> Iterator[str]:
    process = subprocess.Popen([sys.executable, str(HERE / "sink.py")], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate()


def measure(names: Sequence[str], rounds: int) -> tuple[dict[str, list[Round]], dict[str, dict[str, int]]]:
    """Runs all variants round by round, each round in another order."""
    with running_sink() as sink:
        workers = [Worker(name, sink) for name in names]
        try:
            workers = [worker for worker in workers if worker.ready()]
            for _ in range(WARM_UP):
                for worker in workers:
                    worker.round(TURNS)
            results: dict[str, list[Round]] = defaultdict(list)
            for number in range(rounds):
                shift = number % len(workers)
                order = workers[shift:] + workers[:shift]
                for worker in order if number % 2 else reversed(order):
                    worker.collect()
                    results[worker.name].append(worker.round(TURNS))
            with urllib.request.urlopen(sink) as response:
                counts = json.load(response)
        finally:
            for worker in workers:
                worker.stop()
    return {worker.name: results[worker.name] for worker in workers}, counts


def print_comparison(results: dict[str, list[Round]], counts: dict[str, dict[str, int]], rounds: int) -> None:
    print(f"\n{rounds} rounds of {TURNS} turns of {SPANS_PER_TURN} spans; ratios: median [quartiles]\n")
    print("| variant | caller's thread | whole process | µs/span caller | µs/span process ", end="")
    print("| µs/turn p50 | p99 | B/span | arrived | with session and user |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, own in results.items():
        turns = sorted(turn for round in own for turn in round["turns"])
        sent, made = counts[name], (rounds + WARM_UP) * TURNS * SPANS_PER_TURN
        cells = [
            name,
            _ratio(own, results[BASELINE], "thread"),
            _ratio(own, results[BASELINE], "process"),
            f"{_per_span(own, 'thread'):.1f}",
            f"{_per_span(own, 'process'):.1f}",
            f"{turns[len(turns) // 2] / 1000:.0f}",
            f"{turns[len(turns) * 99 // 100] / 1000:.0f}",
            f"{sent['bytes'] / sent['spans']:.0f}",
            f"{sent['spans'] / made:.0%}",
            f"{sent['in_session'] / sent['spans']:.0%}",
        ]
        print(f"| {' | '.join(cells)} |")


def _ratio(own: list[Round], baseline: list[Round], what: Clock) -> str:
    low, middle, high = quantiles(
        [_of(a, what) / _of(b, what) for a, b in zip(own, baseline, strict=True)], n=4
    )
    return f"{middle:.2f} [{low:.2f}-{high:.2f}]"


def _per_span(rounds: list[Round], what: Clock) -> float:
    return median(_of(round, what) for round in rounds) / TURNS / SPANS_PER_TURN / 1000


def _of(round: Round, what: Clock) -> int:
    return round[what]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    options = parser.parse_args()
    names = list(dict.fromkeys([BASELINE, *options.variants]))
    print_comparison(*measure(names, options.rounds), options.rounds)
    print_imports()
    print_parts()


if __name__ == "__main__":
    main()
