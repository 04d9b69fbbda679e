from collections.abc import Callable
from pathlib import Path

import pytest

from pandaprobe_otel.doctor import Report, examine

Examine = Callable[..., Report]


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Examine:
    """Examines with these variables, `None` unsets one; the spool is the test's own."""

    def examined(endpoint: str = "", **environ: str) -> Report:
        monkeypatch.setenv("PANDAPROBE_SPOOL_DIR", str(tmp_path / "spool"))
        if endpoint:
            monkeypatch.setenv("PANDAPROBE_ENDPOINT", endpoint)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        return examine()

    return examined


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Makes a distribution look installed, with entry points as `group="name"`."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(name: str, version: str = "0.1", **entry_points: str) -> None:
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = [f"[{group}]\n{entry} = nothing:there\n" for group, entry in entry_points.items()]
        (folder / "entry_points.txt").write_text("\n".join(lines))

    return install
