"""The settings in force, and where each comes from."""

from urllib.parse import urlsplit

from ..settings import Settings, explain
from .masking import masked, without_password
from .report import Section


def check_settings(settings: Settings) -> Section:
    """Every setting with its source; secrets are masked."""
    section = Section("Settings")
    found = explain()
    for keyword, (value, source, problem) in found.items():
        section.facts[keyword] = {"value": _shown(keyword, value), "source": source}
        if problem:
            section.note(problem, "correct it, or unset it; the default is used until then")
    if not settings.enabled:
        source = found["enabled"].source
        section.problem(f"PandaProbe is off by {source}", f"unset {source}, or set PANDAPROBE_ENABLED=true")
    if not settings.session_sample_rate:
        source = found["session_sample_rate"].source
        section.problem(f"no session is sent: {source} is 0", f"raise {source}")
    for option in settings.missing:
        section.problem(
            f"{option.env} is not set",
            f"set it, or {option.keyword}= of init(); or name an endpoint on loopback",
        )
    if urlsplit(settings.endpoint).path.endswith("/v1/traces"):
        section.note(
            "the endpoint ends in /v1/traces", "set PANDAPROBE_ENDPOINT to the base URL, without /v1/traces"
        )
    return section


def _shown(keyword: str, value: object) -> object:
    if keyword == "api_key" and isinstance(value, str):
        return masked(value)
    if keyword == "endpoint":
        return without_password(str(value))
    if callable(value):
        return f"{value.__module__}:{getattr(value, '__qualname__', type(value).__name__)}"
    return value
