"""PandaProbe as OpenTelemetry's distribution: for `opentelemetry-instrument`, where no other is installed."""

import os
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from typing import Any

from opentelemetry.instrumentation.distro import BaseDistro
from opentelemetry.instrumentation.environment_variables import (
    OTEL_PYTHON_CONFIGURATOR,
    OTEL_PYTHON_DISABLED_INSTRUMENTATIONS,
    OTEL_PYTHON_DISTRO,
)
from opentelemetry.sdk._configuration import _OTelSDKConfigurator  # pyright: ignore[reportPrivateUsage]

from .guest import attach, settings
from .provider import OWN_RESOURCE

_NAME = "pandaprobe"


def distro() -> BaseDistro | None:
    """Ours; None where another one is installed, unless `OTEL_PYTHON_DISTRO` names ours.

    What is no distro is passed over, and the next one taken. Otherwise the first that Python finds would be
    in charge, and to install this package could take a user's exporters away.
    """
    return None if _others(OTEL_PYTHON_DISTRO, "opentelemetry_distro") else PandaProbeDistro()


class PandaProbeDistro(BaseDistro):
    """Gives the environment the defaults that LLM spans need to arrive with their messages."""

    def _configure(self, **kwargs: Any) -> None:
        defaults: dict[str, str] = {}
        if os.environ.get(OTEL_PYTHON_DISTRO) == _NAME:
            defaults[OTEL_PYTHON_CONFIGURATOR] = _NAME
        # `otlp` means gRPC to the SDK, whose start fails where only the exporter over HTTP is installed.
        if not _is_installed("opentelemetry-exporter-otlp-proto-grpc"):
            defaults["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf"
        wanted = settings()
        if wanted.enabled and not wanted.missing:
            defaults |= _genai_defaults(wanted.capture_content)
        for name, value in defaults.items():
            os.environ.setdefault(name, value)


def _genai_defaults(capture_content: bool) -> dict[str, str]:
    defaults: dict[str, str] = {}
    if capture_content:
        defaults["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "SPAN_ONLY"
        # Google's ADK, and what has not moved to the newest conventions yet, knows no SPAN_ONLY without it.
        defaults["OTEL_SEMCONV_STABILITY_OPT_IN"] = "gen_ai_latest_experimental"
    disabled = os.environ.get(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS, "").replace(" ", "").split(",")
    is_instrumented = _is_installed("opentelemetry-instrumentation-genai-anthropic")
    if is_instrumented and {"*", "anthropic"}.isdisjoint(disabled):
        # From version 2 Anthropic's client makes spans by itself; with the instrumentation's, two a call.
        defaults["ANTHROPIC_OPEN_TELEMETRY"] = "false"
    elif capture_content:
        defaults["ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE"] = "content"
    return defaults


# What only the SDK's own set-up reads.
_FOR_THE_SDK = (
    "OTEL_CONFIG_FILE",
    "OTEL_TRACES_EXPORTER",
    "OTEL_METRICS_EXPORTER",
    "OTEL_LOGS_EXPORTER",
    "OTEL_PYTHON_ID_GENERATOR",
)


class PandaProbeConfigurator(_OTelSDKConfigurator):
    """Sets up OpenTelemetry's SDK where the environment asks for it, and joins it.

    Where it does not, its provider would do nothing but keep out one that the program sets itself. Where
    another configurator is installed, that one is called instead.
    """

    def _configure(self, **kwargs: Any) -> None:
        if others := _others(OTEL_PYTHON_CONFIGURATOR, "opentelemetry_configurator"):
            others[0].load()().configure(**kwargs)
            return
        if any(os.environ.get(name, "").strip() not in ("", "none") for name in _FOR_THE_SDK):
            sdk: Any = super()
            sdk._configure(resource_attributes=dict(OWN_RESOURCE), **kwargs)
        attach()


def _others(variable: str, group: str) -> list[EntryPoint]:
    if os.environ.get(variable) == _NAME:
        return []
    return [found for found in entry_points(group=group) if found.name != _NAME]


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
