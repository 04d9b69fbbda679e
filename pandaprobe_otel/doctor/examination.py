"""All checks, one after the other."""

from collections.abc import Callable

from ..settings import Settings, explain
from .configuration import check_settings
from .delivery import check_delivery
from .instrumentations import check_instrumentations
from .masking import without_password
from .report import Report, Section
from .spool import check_spool
from .telemetry import check_distros, check_provider

_CHECKS: tuple[Callable[[Settings], Section], ...] = (
    check_settings,
    check_delivery,
    check_spool,
    check_provider,
    check_distros,
    check_instrumentations,
)


def examine() -> Report:
    """Looks at this process and its environment, and sends a test span over each wire."""
    settings = Settings(**{keyword: found.value for keyword, found in explain().items()})
    sections = [_run(check, settings) for check in _CHECKS]
    wire = next((section.facts["wire"] for section in sections if "wire" in section.facts), None)
    endpoint = without_password(settings.endpoint)
    return Report(f"{endpoint}, over {wire}" if wire else endpoint, sections)


def _run(check: Callable[[Settings], Section], settings: Settings) -> Section:
    try:
        return check(settings)
    except Exception as error:
        section = Section(check.__name__)
        section.problem(f"{check.__name__} failed ({type(error).__name__})", "please report this")
        return section
