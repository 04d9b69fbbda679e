"""What was found, as text for a terminal and as JSON."""

from dataclasses import dataclass, field
from textwrap import fill
from typing import Any

_WIDTH = 80
_LABEL = 20


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be, and what to do about it, one line each.

    Args:
        stops: Whether no span would arrive because of it.
    """

    text: str
    fix: str
    stops: bool = False


@dataclass
class Section:
    """What one check looked at.

    Args:
        facts: What is so, by labels; a dict says a value and where it comes from.
    """

    title: str
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    findings: list[Finding] = field(default_factory=list[Finding])

    def note(self, text: str, fix: str) -> None:
        """Finds something that is worth mending."""
        self.findings.append(Finding(text, fix))

    def problem(self, text: str, fix: str) -> None:
        """Finds why no span would arrive."""
        self.findings.append(Finding(text, fix, stops=True))


@dataclass(frozen=True)
class Report:
    """Everything that was found.

    Args:
        destination: Where a span goes.
    """

    destination: str
    sections: list[Section]

    @property
    def findings(self) -> list[Finding]:
        """The findings of all sections; what stops spans first."""
        found = dict.fromkeys(finding for section in self.sections for finding in section.findings)
        return sorted(found, key=lambda finding: not finding.stops)

    @property
    def arrives(self) -> bool:
        """Whether a span would arrive."""
        return not any(finding.stops for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """The report as values of JSON."""
        return {
            "arrives": self.arrives,
            "destination": self.destination,
            "findings": [
                {"stops": finding.stops, "text": finding.text, "fix": finding.fix}
                for finding in self.findings
            ],
            **{section.title.lower().replace(" ", "_"): section.facts for section in self.sections},
        }

    def as_text(self) -> str:
        """The report for a terminal of 80 columns: first whether a span would arrive, then what to do."""
        verb = "arrives" if self.arrives else "would NOT arrive"
        lines = [_wrapped(f"A span {verb} in PandaProbe at {self.destination}.")]
        for finding in self.findings:
            mark = "  ! " if finding.stops else "  - "
            lines += ["", _wrapped(finding.text, mark, 4), _wrapped(finding.fix, "    -> ", 7)]
        for section in self.sections:
            lines += ["", section.title]
            defaults = {name: value["value"] for name, value in section.facts.items() if _is_default(value)}
            facts = {name: value for name, value in section.facts.items() if name not in defaults}
            if defaults:
                facts["by default"] = [f"{name}={_text(value)}" for name, value in defaults.items()]
            lines += [
                _wrapped(_text(value), f"  {name:<{_LABEL}}", _LABEL + 2) for name, value in facts.items()
            ]
        return "\n".join(lines)


def _is_default(value: Any) -> bool:
    match value:
        case {"source": "default"}:
            return True
        case _:
            return False


def _text(value: Any) -> str:
    match value:
        case {"value": inner, "source": source}:
            return f"{_text(inner)} ({source})"
        case None | () | [] | "":
            return "-"
        case bool():
            return str(value).lower()
        case [*items]:
            return ("; " if any("," in str(item) for item in items) else ", ").join(map(_text, items))
        case _:
            return str(value)


def _wrapped(text: str, first: str = "", indent: int = 0) -> str:
    return fill(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
