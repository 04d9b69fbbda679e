"""What waits to be sent."""

from pathlib import Path

from ..export.exporter import spool_directory
from ..export.spool import project_key
from ..export.spool.aside import FILE_NAME
from ..export.spool.peek import peek
from ..settings import Settings
from .report import Section


def check_spool(settings: Settings) -> Section:
    """The spool of the project, read without taking anything over."""
    section = Section("Spool")
    directory = spool_directory(settings)
    if directory is None:
        section.facts["folder"] = "none: what is not sent yet is lost with the process"
        return section
    key = project_key(settings.endpoint, settings.project_name, settings.api_key)
    waiting = peek(directory / key)
    section.facts |= {
        "folder": str(directory / key),
        "items": waiting.load.items,
        "spans": waiting.load.spans,
        "bytes": waiting.load.bytes,
        "oldest": _duration(waiting.oldest) if waiting.load.items else None,
        "set_aside": sum(waiting.set_aside.values()),
        "other_projects": _others(directory, key),
    }
    for reason, spans in waiting.set_aside.items():
        section.note(
            f"{spans} spans were set aside, they are not tried again: {reason}",
            f"mend the cause; they stay in {FILE_NAME} of the spool's folder",
        )
    if waiting.unreadable:
        section.note(
            f"{waiting.unreadable} files of the spool cannot be read",
            "run doctor as the user that the application runs as",
        )
    return section


def _others(directory: Path, key: str) -> str | None:
    """What waits for another endpoint, project or key."""
    try:
        folders = [folder for folder in directory.iterdir() if folder.is_dir() and folder.name != key]
    except OSError:
        return None
    spans = sum(peek(folder).load.spans for folder in folders)
    return f"{spans} spans for another endpoint, project or key" if spans else None


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
