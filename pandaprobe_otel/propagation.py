"""Session, user and turn in carriers that you read and write yourself.

from pandaprobe_otel import propagation

propagation.inject(headers)
"""

from opentelemetry.context import Context, get_current
from opentelemetry.propagators.textmap import CarrierT, Getter, Setter, default_getter, default_setter

from . import runtime
from .session.propagation import PandaProbePropagator, guarded_global, to_anyone

__all__ = ["PandaProbePropagator", "extract", "inject"]


def inject(
    carrier: CarrierT, context: Context | None = None, setter: Setter[CarrierT] = default_setter
) -> None:
    """Writes trace, baggage, session, user and turn into a carrier, whoever it goes to.

    For peers that are yours though nothing shows it: what the global propagator writes to internal hosts,
    this writes to any. As OpenTelemetry's `propagate.inject`.

        headers = {}
        propagation.inject(headers)

    Args:
        carrier: Headers, or whatever `setter` writes to.
        context: What is written; the current context when not given.
        setter: How it is written.
    """
    runtime.ensure_started()
    guarded_global().inject(carrier, to_anyone(get_current() if context is None else context), setter)


def extract(
    carrier: CarrierT, context: Context | None = None, getter: Getter[CarrierT] = default_getter
) -> Context:
    """What a carrier brings, session, user and turn as far as they are proven, as a context to attach.

    For messages and requests that no instrumentation reads. As OpenTelemetry's `propagate.extract`.

        token = opentelemetry.context.attach(propagation.extract(headers))

    Args:
        carrier: Headers, or whatever `getter` reads from.
        context: The context to add to; an empty one when not given.
        getter: How it is read.
    """
    runtime.ensure_started()
    return guarded_global().extract(carrier, context, getter)
