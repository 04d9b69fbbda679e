"""A disk that is full, and files that are damaged: spans made are spans stored, and none is stored twice."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from otlp_receiver import Receiver
from programs import all_once, port_of, spool_is_empty, stored

QUEUE = {"PANDAPROBE_MAX_QUEUE_SIZE": "20000"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mounts are not permitted here: {mounted.stderr.decode()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def deliver_after_an_outage(run: Any, code: str, **environment: str) -> Any:
    """Runs the code, then brings the receiver back and has everything flushed."""
    with Receiver() as receiver:
        port = port_of(receiver)
    code += "\ntell(flushed=pandaprobe.flush(0))\ninput()\ntell(flushed=pandaprobe.flush(30))"
    with run(receiver.url, code, **QUEUE, **environment) as program:
        assert '"flushed": false' in program.wait_for_line()
        with Receiver(port=port) as receiver:
            program.go_on()
            assert program.end() == 0
            assert program.told["flushed"]
    assert program.told["lost"] == {}
    return stored(receiver), program


def test_full_disk_loses_nothing(run: Any, small_disk: Path) -> None:
    found, program = deliver_after_an_outage(
        run, "make(20_000)", PANDAPROBE_SPOOL_DIR=str(small_disk / "spool")
    )
    assert found == all_once(20_000)
    assert len([line for line in program.warnings if "spans wait in memory" in line]) == 1
    assert not list(small_disk.rglob("*.db"))


def test_quota_on_files_loses_nothing(run: Any, tmp_path: Path) -> None:
    # The coverage of the process is written at its end, and is larger.
    code = """
import atexit, resource
no_limit = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
atexit.register(resource.setrlimit, resource.RLIMIT_FSIZE, no_limit)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
make(20_000)
"""
    found, program = deliver_after_an_outage(run, code)
    assert found == all_once(20_000)
    assert len([line for line in program.warnings if "spans wait in memory" in line]) == 1
    assert spool_is_empty(tmp_path)


@pytest.mark.parametrize("where", ["0, 100", "4096, 8192", "0, size"])
def test_file_that_is_damaged_while_it_is_used_loses_nothing(run: Any, tmp_path: Path, where: str) -> None:
    code = f"""
import pathlib
make(1000, "before.")
pandaprobe.flush(0.2)
for path in pathlib.Path({str(tmp_path)!r}).rglob("*.db*"):
    size = path.stat().st_size
    first, last = {where}
    with path.open("r+b") as file:
        file.seek(first)
        file.write(os.urandom(max(0, min(size, last) - first)))
make(1000, "after.")
"""
    found, program = deliver_after_an_outage(run, code)
    assert found == all_once(1000, "before.") + all_once(1000, "after.")
    assert len(program.warnings) <= 2, "the outage is one line, the damage another"


def test_files_of_former_processes_that_are_damaged_hold_up_nothing(run: Any, tmp_path: Path) -> None:
    with Receiver() as receiver:
        port = port_of(receiver)
    for name in ("lost.", "part.", "kept."):
        with run(receiver.url, f"make(1000, {name!r})", PANDAPROBE_SHUTDOWN_TIMEOUT="0.1") as program:
            assert program.end() == 0
            newest = max((tmp_path / "spool").rglob("*.db"), key=lambda path: path.stat().st_mtime)
        content = bytearray(newest.read_bytes())
        if name == "lost.":
            newest.write_bytes(os.urandom(len(content)))
        elif name == "part.":
            content[-8192:-4096] = os.urandom(4096)
            newest.write_bytes(content)
    with (
        Receiver(port=port) as receiver,
        run(receiver.url, "make(1000, 'new.'); tell(flushed=pandaprobe.flush(20))") as program,
    ):
        assert program.end() == 0
        found = stored(receiver)
    assert all_once(1000, "kept.") + all_once(1000, "new.") <= found
    # The damaged page holds parts of three of eight batches.
    assert sum(count for name, count in found.items() if name.startswith("part.")) >= 600
    assert max(found.values()) == 1
    assert spool_is_empty(tmp_path)
    assert list((tmp_path / "spool").rglob("*.corrupt")), "kept for whoever wants to look at it"
