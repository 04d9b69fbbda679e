"""The process of one variant: runs a round for each number of turns that it reads, and writes what it took.

Garbage is collected when it reads `collect`, and at no other time.
"""

import gc
import json
import sys
import threading
from itertools import pairwise
from time import perf_counter_ns, process_time_ns, thread_time_ns
from typing import TypedDict

from variants import VARIANTS, Variant
from workload import CONVERSATIONS


class Round(TypedDict):
    """Nanoseconds: CPU of the caller's thread, CPU of the process, wall-clock of each turn."""

    thread: int
    process: int
    turns: list[int]


def run_round(variant: Variant, turns: int) -> Round:
    work = [(f"conversation-{at}", CONVERSATIONS[at % len(CONVERSATIONS)]) for at in range(turns)]
    ends = [0] * (turns + 1)
    process = process_time_ns()
    thread = thread_time_ns()
    ends[0] = perf_counter_ns()
    for number, (session_id, conversation) in enumerate(work, 1):
        variant.turn(session_id, conversation)
        ends[number] = perf_counter_ns()
    thread = thread_time_ns() - thread
    # In a thread of its own, because some of them export in the thread that flushes.
    flush = threading.Thread(target=variant.flush)
    flush.start()
    flush.join()
    process = process_time_ns() - process
    return {"thread": thread, "process": process, "turns": [b - a for a, b in pairwise(ends)]}


def main() -> None:
    variant = VARIANTS[sys.argv[1]](sys.argv[2])
    gc.freeze()
    gc.disable()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        answer = gc.collect() if line.strip() == "collect" else run_round(variant, int(line))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
