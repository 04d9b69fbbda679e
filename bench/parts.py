"""Where the microseconds of our part go: pieces, one by one, without an exporter."""

import gc
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from statistics import median
from time import thread_time_ns
from typing import NamedTuple

from opentelemetry import baggage, context
from opentelemetry.sdk.trace import TracerProvider
from variants import USER
from workload import CONVERSATIONS, genai

import pandaprobe_otel as pandaprobe
from pandaprobe_otel import runtime
from pandaprobe_otel.tracing.values import to_json

REPEATS = 61
CALLS = 400
SESSION = "conversation-1"


class Part(NamedTuple):
    name: str
    run: Callable[[], object]
    inside: Callable[[], AbstractContextManager[object]] = nullcontext


class Discarding:
    """What the manual API needs of a client."""

    def __init__(self, provider: TracerProvider) -> None:
        self.tracer_provider = provider
        self.tracer = provider.get_tracer("bench")


def in_session() -> AbstractContextManager[object]:
    return pandaprobe.session(SESSION)


def in_session_and_user() -> AbstractContextManager[object]:
    stack = ExitStack()
    stack.enter_context(pandaprobe.session(SESSION))
    stack.enter_context(pandaprobe.user(USER))
    return stack


def span_parts() -> list[Part]:
    plain, stamping = TracerProvider(), TracerProvider()
    stamping.add_span_processor(pandaprobe.SessionSpanProcessor())
    bare, stamped = plain.get_tracer("bench"), stamping.get_tracer("bench")
    runtime.activate(Discarding(stamping))

    def span() -> None:
        stamped.start_span("step").end()

    def current_span() -> None:
        with stamped.start_as_current_span("step"):
            pass

    def manual_trace() -> None:
        with pandaprobe.start_trace("agent"):
            pass

    parent = pandaprobe.start_trace("agent")

    def manual_span() -> None:
        with parent.span("step"):
            pass

    return [
        Part("`start_span` and `end`, no processor", lambda: bare.start_span("step").end()),
        Part("the same with stamping, no session", span),
        Part("the same with stamping, in a session", span, in_session),
        Part("the same with stamping, in a session and user", span, in_session_and_user),
        Part(
            "`start_as_current_span`, with stamping, in a session and user", current_span, in_session_and_user
        ),
        Part("`trace.span`, in a session and user", manual_span, in_session_and_user),
        Part("`start_trace`, in a session and user", manual_trace, in_session_and_user),
    ]


def session_parts() -> list[Part]:
    def session() -> None:
        with pandaprobe.session(SESSION):
            pass

    def session_and_user() -> None:
        with pandaprobe.session(SESSION), pandaprobe.user(USER):
            pass

    def attached_baggage() -> None:
        carried = baggage.set_baggage("user.id", USER, baggage.set_baggage("session.id", SESSION))
        context.detach(context.attach(carried))

    return [
        Part("entering and leaving `session`", session),
        Part("entering and leaving `session` and `user`", session_and_user),
        Part("attaching and detaching both as baggage, by hand", attached_baggage),
    ]


def json_parts() -> list[Part]:
    messages = genai(CONVERSATIONS[0].prompt)
    return [
        Part("`json.dumps` of the prompt", lambda: json.dumps(messages)),
        Part("our JSON of the prompt", lambda: to_json(messages)),
    ]


def measure(parts: list[Part]) -> dict[str, float]:
    """Microseconds of each part; the repeats of all of them are interleaved."""
    times: dict[str, list[int]] = {part.name: [] for part in parts}
    gc.collect()
    gc.disable()
    for _ in range(REPEATS):
        for part in parts:
            with part.inside():
                start = thread_time_ns()
                for _ in range(CALLS):
                    part.run()
                times[part.name].append(thread_time_ns() - start)
    gc.enable()
    return {name: median(taken) / CALLS / 1000 for name, taken in times.items()}


def print_parts() -> None:
    print("\n| part | µs |\n|---|---|")
    for name, took in measure([*span_parts(), *session_parts(), *json_parts()]).items():
        print(f"| {name} | {took:.1f} |")


if __name__ == "__main__":
    print_parts()
