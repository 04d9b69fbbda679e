"""OpenTelemetry in this process: who is in charge, in which order, and what is sampled and propagated."""

import os
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, Sampler

from ..settings import Settings
from .report import Section

_DECISIONS = 1000
_THREADING = "threading"


def check_provider(settings: Settings) -> Section:
    """The provider in charge, its processors and its sampler."""
    section = Section("OpenTelemetry")
    provider: Any = trace.get_tracer_provider()
    is_set = not isinstance(provider, trace.ProxyTracerProvider)
    section.facts["provider"] = _name(provider) if is_set else "none yet; the first to come sets it"
    if not is_set and os.environ.get("OTEL_CONFIG_FILE"):
        section.note(
            "OTEL_CONFIG_FILE is read only where a program is started by opentelemetry-instrument",
            "opentelemetry-instrument pandaprobe-otel doctor",
        )
    section.facts["processors"] = [_with_exporter(processor) for processor in processors_of(provider)]
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        section.problem("OTEL_SDK_DISABLED=true: OpenTelemetry makes no spans", "unset OTEL_SDK_DISABLED")
    elif settings.enabled:
        # Without a provider, the one that the environment would give.
        sampler = getattr(provider, "sampler", None) or TracerProvider(shutdown_on_exit=False).sampler
        _check_sampler(sampler, section)
    if is_set and not hasattr(provider, "add_span_processor"):
        section.note(
            f"the provider ({_name(provider)}) takes no span processors: only spans of this package arrive",
            "set an OpenTelemetry SDK TracerProvider before init()",
        )
    fields = sorted(propagate.get_global_textmap().fields)
    section.facts["propagators"] = fields
    if "baggage" not in fields:
        section.note(
            "no propagator for baggage: sessions do not reach other services",
            "add baggage to OTEL_PROPAGATORS, or unset it",
        )
    section.facts["threads"] = _threads()
    return section


def processors_of(provider: Any) -> list[Any]:
    """The span processors of a provider, in their order. OpenTelemetry has no public name for them."""
    active = getattr(provider, "_active_span_processor", None)
    return list(getattr(active, "_span_processors", ()))


def check_distros(_: Settings) -> Section:
    """Who competes for setting OpenTelemetry up under `opentelemetry-instrument`."""
    section = Section("Zero code")
    for role in ("distro", "configurator"):
        found = list(entry_points(group=f"opentelemetry_{role}"))
        section.facts[f"{role}s"] = [_entry(entry) for entry in found]
        variable = f"OTEL_PYTHON_{role.upper()}"
        chosen = os.environ.get(variable)
        if chosen:
            section.facts[f"{role}_chosen"] = {"value": chosen, "source": variable}
        if chosen and chosen not in {entry.name for entry in found}:
            section.note(
                f"{variable}={chosen} names nothing that is installed: nothing is configured",
                f"unset {variable}, or set it to one of {', '.join(entry.name for entry in found)}",
            )
        elif not chosen and len(found) > 1:
            section.note(
                f"several {role}s are installed, and which one is taken is left to chance",
                f"set {variable} to the one that you want: {', '.join(entry.name for entry in found)}",
            )
    instrumentors = entry_points(group="opentelemetry_instrumentor")
    section.facts["instrumentors"] = sorted({entry.name for entry in instrumentors})
    return section


def _check_sampler(sampler: Sampler, section: Section) -> None:
    # With room to break the line.
    section.facts["sampler"] = sampler.get_description().replace(",", ", ")
    # Spread evenly: samplers by ratio decide by the lower half of the trace id.
    ids = [(1 << 127) + (2 * number + 1) * (1 << 63) // _DECISIONS for number in range(_DECISIONS)]
    sampled = sum(
        sampler.should_sample(None, trace_id, "pandaprobe-otel doctor").decision is Decision.RECORD_AND_SAMPLE
        for trace_id in ids
    )
    if not sampled:
        section.problem(
            f"the sampler ({sampler.get_description()}) drops every span",
            "set OTEL_TRACES_SAMPLER=parentbased_always_on, or give the provider another sampler",
        )
    elif sampled < _DECISIONS:
        section.note(
            f"the sampler keeps {100 * sampled / _DECISIONS:g} % of the traces: sessions have gaps",
            "sample whole sessions with PANDAPROBE_SESSION_SAMPLE_RATE, and traces not at all",
        )


def _threads() -> str:
    installed = [
        entry for entry in entry_points(group="opentelemetry_instrumentor") if entry.name == _THREADING
    ]
    return (
        f"{_package(installed[0])} where it is active, else pandaprobe-otel"
        if installed
        else "pandaprobe-otel"
    )


def _with_exporter(processor: Any) -> str:
    exporter = getattr(processor, "span_exporter", None)
    return f"{type(processor).__name__} ({type(exporter).__name__})" if exporter else type(processor).__name__


def _name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _entry(entry: EntryPoint) -> str:
    return f"{entry.name} of {_package(entry)}"


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.module
