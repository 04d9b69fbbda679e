"""The spool: what is put there is kept until it is acknowledged, whatever happens to process and disk."""

import fcntl
import json
import os
import runpy
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pandaprobe_otel.export.spool import Load, Spool, disk, project_key
from pandaprobe_otel.export.spool import lock as lock_module
from pandaprobe_otel.export.spool import spool as spool_module

MIB = 1 << 20

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Spool]]:
    """Opens spools of one project; what they hold is left behind when the test ends."""
    spools: list[Spool] = []

    def opened(max_bytes: int = 64 * MIB, directory: Path | None = tmp_path) -> Spool:
        spools.append(Spool.open(directory, "project", max_bytes))
        return spools[-1]

    yield opened
    for spool in spools:
        spool.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "project"


def program(code: str, *arguments: object) -> "subprocess.Popen[str]":
    """Starts a process that has `spool` open on the first argument."""
    start = "import logging, os, signal, sys, time\nlogging.disable()\nfrom pathlib import Path\n"
    start += "from pandaprobe_otel.export.spool import Spool\n"
    start += "spool = Spool.open(Path(sys.argv[1]), 'project', 64 << 20)\n"
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", start + textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(process: "subprocess.Popen[str]", code: int = 0) -> str:
    """What a process printed; it has to end with `code`."""
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (code, "")
    return output


def killed(code: str, *arguments: object) -> None:
    """Runs a process to its end by SIGKILL."""
    told(
        program(textwrap.dedent(code) + "\nos.kill(os.getpid(), signal.SIGKILL)", *arguments), -signal.SIGKILL
    )


def bodies(spool: Spool, limit: int = 10_000) -> list[bytes]:
    return [item.body for item in spool.take(limit)]


def files(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.iterdir()) if folder.exists() else []


def drained(spool: Spool) -> list[bytes]:
    """Everything that can be adopted, delivered in order."""
    found: list[bytes] = []
    while spool.adopt():
        while items := spool.take(7):
            found += [item.body for item in items]
            spool.ack([item.seq for item in items])
    return found


# What is kept, and in which order


def test_items_come_back_oldest_first_until_they_are_acknowledged(opened: Callable[..., Spool]) -> None:
    spool = opened()
    seqs = [spool.put("spans", b"%d" % number, number) for number in range(5)]
    spool.put("score", b"{}", 0)
    assert bodies(spool, 3) == bodies(spool, 3) == [b"0", b"1", b"2"]
    spool.ack(seqs[:2])
    assert bodies(spool) == [b"2", b"3", b"4", b"{}"]
    assert spool.take(1)[0].count == 2
    assert spool.take(9)[-1].kind == "score"
    assert spool.pending() == Load(items=4, spans=9, bytes=5)
    spool.ack(seqs)
    spool.ack(seqs)
    assert bodies(spool) == [b"{}"]


def test_an_item_can_be_handled_by_its_number_alone(opened: Callable[..., Spool]) -> None:
    for spool in (opened(), opened(directory=None)):
        spool.set_aside(spool.put("spans", b"aside", 1), "status 400")
        spool.ack([spool.put("spans", b"gone", 1), 999, 7 << 40])
        spool.set_aside(999, "unknown")
        assert spool.take(9) == []
        assert spool.pending().items == 0


def test_what_is_set_aside_is_kept_and_shown_but_not_sent(opened: Callable[..., Spool], folder: Path) -> None:
    spool = opened()
    for body in (b"poison", b"good"):
        spool.put("spans", body, 3)
    poison = spool.take(1)[0].seq
    spool.set_aside(poison, "status 400")
    assert bodies(spool) == [b"good"]
    assert spool.stats.set_aside == 1
    spool.close()
    later = opened()
    assert later.adopt() == 1
    (aside,) = later.set_aside_items()
    assert (aside.item.body, aside.item.count) == (b"poison", 3)
    assert aside.reason == "status 400"
    assert aside.since == pytest.approx(time.time(), abs=60)


def test_what_is_set_aside_is_bounded_and_survives_a_damaged_file(
    opened: Callable[..., Spool], folder: Path
) -> None:
    spool = opened(max_bytes=800)
    for number in range(6):
        spool.set_aside(spool.put("spans", b"%d" % number * 40, 2), "status 400")
    assert [aside.item.body[:1] for aside in spool.set_aside_items()] == [b"4", b"5"]
    assert spool.stats.dropped == 8
    (folder / "set-aside.sqlite").write_bytes(b"no database" * 500)
    assert spool.set_aside_items() == []
    spool.set_aside(spool.put("spans", b"next", 1), "status 400")
    assert [aside.item.body for aside in spool.set_aside_items()] == [b"next"]


def test_the_project_key_tells_places_apart_and_no_api_key(
    opened: Callable[..., Spool], tmp_path: Path
) -> None:
    place = ("https://api.example", "project", "sk_pp_secret")
    others = [("https://b", *place[1:]), (*place[:1], "b", place[2]), (*place[:2], "b"), (*place[:2], None)]
    keys = {project_key(*one) for one in [place, *others]}
    assert len(keys) == 5
    assert project_key(*place) == project_key(*place)
    spool = Spool.open(tmp_path, project_key(*place), MIB)
    spool.put("spans", b"body", 1)
    for path in tmp_path.rglob("*"):
        assert "sk_pp_secret" not in str(path)
        assert path.is_dir() or b"sk_pp_secret" not in path.read_bytes()
    spool.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rights")
@pytest.mark.parametrize("umask", [0o000, 0o077, 0o277])
def test_only_the_owner_reads_the_spool(tmp_path: Path, umask: int) -> None:
    code = """
        os.umask(int(sys.argv[2]))
        seq = spool.put("spans", b"body", 1)
        spool.set_aside(spool.put("spans", b"poison", 1), "status 400")
        for path in [*Path(sys.argv[1]).rglob("*"), Path(sys.argv[1])]:
            print(path.suffix or "folder", oct(path.stat().st_mode & 0o777))
        spool.ack([seq])
        spool.close()
    """
    lines = sorted(told(program(code, tmp_path / "new", umask)).splitlines())
    kinds = [".db", ".db-shm", ".db-wal", ".lock", ".sqlite"]
    assert lines == [f"{kind} 0o600" for kind in kinds] + ["folder 0o700"] * 2


# Processes


def test_a_process_that_is_killed_loses_nothing(opened: Callable[..., Spool], tmp_path: Path) -> None:
    killed(
        """
        for number in range(100):
            spool.put("spans", b"%d" % number, 1)
        items = spool.take(10)
        spool.ack(item.seq for item in items[:5])
        """,
        tmp_path,
    )
    spool = opened()
    spool.put("spans", b"new", 1)
    assert spool.adopt() == spool.stats.adopted == 95
    assert bodies(spool) == [b"%d" % number for number in range(5, 100)] + [b"new"]
    spool.ack(item.seq for item in spool.take(95))
    assert bodies(spool) == [b"new"]


def test_files_of_several_dead_processes_are_sent_in_their_order_and_removed(
    opened: Callable[..., Spool], tmp_path: Path, folder: Path
) -> None:
    expected = [b"%d" % number for number in range(disk.MOST_ADOPTED + 3)]
    for body in expected:
        before = Spool.open(tmp_path, "project", MIB)
        before.put("spans", body, 1)
        before.close()
    spool = opened()
    assert drained(spool) == expected
    assert files(folder) == []


def test_a_file_without_items_is_removed(opened: Callable[..., Spool], tmp_path: Path, folder: Path) -> None:
    spool = opened()
    spool.close()
    assert not folder.exists()
    spool.ack([spool.put("spans", b"body", 1)])
    assert ".db" in files(folder)
    spool.close()
    assert files(folder) == []
    killed("spool.ack([spool.put('spans', b'body', 1)])", tmp_path)
    (folder / "1-0.lock").touch()
    assert ".db" in files(folder)
    assert spool.adopt() == 0
    assert files(folder) == []


def test_a_live_process_keeps_its_file(opened: Callable[..., Spool], tmp_path: Path, folder: Path) -> None:
    process = program(
        """
        spool.put("spans", b"theirs", 1)
        print("ready", flush=True)
        sys.stdin.readline()
        print([item.body for item in spool.take(9)], spool.adopt())
        spool.close()
        """,
        tmp_path,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    spool = opened()
    spool.put("spans", b"ours", 1)
    assert spool.adopt() == 0
    assert bodies(spool) == [b"ours"]
    assert files(folder).count(".db") == 2
    assert told(process) == "[b'theirs'] 0\n"
    assert spool.adopt() == 1
    assert bodies(spool) == [b"theirs", b"ours"]


def test_processes_that_race_for_the_dead_deliver_each_item_once(tmp_path: Path) -> None:
    for process in range(20):
        before = Spool.open(tmp_path, "project", MIB)
        for number in range(5):
            before.put("spans", f"{process}-{number}".encode(), 1)
        before.close()
    racers = [
        program(
            """
            sys.stdin.readline()
            found, idle = [], 0
            while idle < 20:
                idle = 0 if spool.adopt() else idle + 1
                while items := spool.take(3):
                    found += [item.body.decode() for item in items]
                    spool.ack(item.seq for item in items)
                time.sleep(0.01)
            spool.close()
            print(*found)
            """,
            tmp_path,
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("\n")
        racer.stdin.flush()
    found = [name for racer in racers for name in told(racer).split()]
    assert sorted(found) == sorted(f"{process}-{number}" for process in range(20) for number in range(5))
    assert files(tmp_path / "project") == []


@needs_fork
def test_a_forked_child_starts_empty_with_a_file_of_its_own(tmp_path: Path) -> None:
    code = """
        seq = spool.put("spans", b"parent", 1)
        child = os.fork()
        if child == 0:
            names = set(os.listdir(sys.argv[2]))
            assert spool.pending().items == 0 and spool.take(9) == [] and spool.adopt() == 0
            assert set(os.listdir(sys.argv[2])) == names
            spool.put("spans", b"child", 1)
            assert [item.body for item in spool.take(9)] == [b"child"]
            assert len([name for name in os.listdir(sys.argv[2]) if name.endswith(".db")]) == 2
            spool.close()
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert [item.body for item in spool.take(9)] == [b"parent"]
        spool.put("spans", b"after", 1)
        assert spool.adopt() == 1
        print([item.body for item in spool.take(9)])
        spool.ack([item.seq for item in spool.take(9)])
        spool.close()
    """
    assert told(program(code, tmp_path, tmp_path / "project")) == "[b'child', b'parent', b'after']\n"
    assert files(tmp_path / "project") == []


@needs_fork
def test_a_child_that_outlives_its_parent_does_not_keep_its_file(
    opened: Callable[..., Spool], tmp_path: Path
) -> None:
    process = program(
        """
        spool.put("spans", b"parent", 1)
        if os.fork() == 0:
            assert spool.adopt() == 0
            print(os.getpid(), flush=True)
            time.sleep(60)
        time.sleep(60)
        """,
        tmp_path,
    )
    assert process.stdout
    child = int(process.stdout.readline())
    try:
        process.kill()
        process.wait()
        spool = opened()
        assert spool.adopt() == 1
        assert bodies(spool) == [b"parent"]
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()


@needs_fork
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_forks_amid_other_threads_leave_no_lock_behind(tmp_path: Path) -> None:
    code = """
        import threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        stop = threading.Event()
        def work():
            while not stop.is_set():
                spool.ack([spool.put("spans", b"x" * 50_000, 1)])
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads: thread.start()
        for _ in range(25):
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                spool.put("spans", b"child", 1)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        for thread in threads: thread.join()
        assert spool.pending().items == 0
        found = 0
        while adopted := spool.adopt():
            found += adopted
            spool.ack([item.seq for item in spool.take(99)])
        print(found)
        spool.close()
    """
    assert told(program(code, tmp_path)) == "25\n"


# The bound


@pytest.mark.parametrize("on_disk", [True, False])
def test_at_the_bound_the_oldest_go_and_are_counted(
    opened: Callable[..., Spool], tmp_path: Path, caplog: pytest.LogCaptureFixture, on_disk: bool
) -> None:
    spool = opened(max_bytes=1000, directory=tmp_path if on_disk else None)
    for number in range(25):
        spool.put("spans", b"%02d" % number + b"." * 98, 10)
    assert [body[:2] for body in bodies(spool)] == [b"%02d" % number for number in range(15, 25)]
    assert spool.stats.dropped == 150
    assert spool.pending().bytes == 1000
    assert len(caplog.records) == 1
    assert "PANDAPROBE_SPOOL_MAX_BYTES" in caplog.text
    spool.ack(item.seq for item in spool.take(99))


@pytest.mark.parametrize("on_disk", [True, False])
def test_at_the_bound_the_newest_stays_and_what_is_being_sent(
    opened: Callable[..., Spool], tmp_path: Path, on_disk: bool
) -> None:
    spool = opened(max_bytes=100, directory=tmp_path if on_disk else None)
    spool.put("spans", b"first" * 10, 1)
    sending = spool.take(1)
    spool.put("spans", b"second" * 10, 1)
    spool.put("spans", b"larger than all" * 10, 1)
    assert bodies(spool) == [b"first" * 10, b"larger than all" * 10]
    spool.ack([sending[0].seq])
    assert spool.stats.dropped == 1
    spool.ack(item.seq for item in spool.take(9))


def test_the_bound_holds_for_all_files_of_the_project(opened: Callable[..., Spool], folder: Path) -> None:
    bound = 16 * MIB
    first, second = opened(bound), opened(bound)
    for _ in range(200):
        first.put("spans", os.urandom(100_000), 1)
    second.put("spans", b"one", 1)
    second.adopt()
    for _ in range(200):
        second.put("spans", os.urandom(100_000), 1)
    # A late process has its share, and the early one makes room when it looks around.
    assert second.pending().bytes == pytest.approx(bound / 2, rel=0.1)
    first.adopt()
    first.put("spans", b"more", 1)
    assert first.pending().bytes + second.pending().bytes <= bound * 1.1
    for spool in (first, second):
        while items := spool.take(50):
            spool.ack(item.seq for item in items)
    first.adopt()
    assert sum(path.stat().st_size for path in folder.iterdir()) < MIB


def test_a_lock_on_windows_is_let_go_before_its_file_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is Windows' is stood in for: its locks, and that it removes no file that is open."""
    held: list[int] = []

    def locking(handle: int, mode: int, size: int) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError from None
        held.append(handle)

    def unlink(path: Path) -> None:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(held[-1])
        os.unlink(path)

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    loaded = runpy.run_path(lock_module.__file__)
    take, path = loaded["FileLock"].take, tmp_path / "a.lock"
    lock = take(path)
    assert take(path) is None
    lock.release()
    lock = take(path)
    monkeypatch.setattr(Path, "unlink", unlink)
    lock.remove()
    assert not path.exists()


# Disks that fail


def test_where_no_file_can_be_items_are_in_memory_with_one_warning(
    opened: Callable[..., Spool], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    spool = opened(directory=tmp_path / "file" / "below")
    seqs = [spool.put("spans", b"%d" % number, 5) for number in range(3)]
    assert bodies(spool) == [b"0", b"1", b"2"]
    spool.set_aside(seqs[1], "status 400")
    assert [item.body for item in spool.take(9)] == [b"0", b"2"]
    assert [aside.item.body for aside in spool.set_aside_items()] == [b"1"]
    assert spool.adopt() == 0
    spool.ack([seqs[2]])
    assert [record.getMessage() for record in caplog.records if "in memory" in record.message] != []
    assert len([record for record in caplog.records if "fails" in record.message]) == 1
    spool.close()
    assert spool.stats.lost == 5


def test_without_a_folder_nothing_is_written_and_nothing_is_said(
    opened: Callable[..., Spool], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = opened(directory=None)
    spool.put("spans", b"body", 1)
    assert bodies(spool) == [b"body"]
    assert spool.adopt() == 0
    assert (list(tmp_path.iterdir()), caplog.records) == ([], [])
    spool.close()
    assert (spool.stats.lost, "1 spans" in caplog.text) == (1, True)


def test_a_python_without_sqlite_keeps_items_in_memory(tmp_path: Path) -> None:
    code = """
        sys.modules["_sqlite3"] = sys.modules["sqlite3"] = None
        seq = spool.put("spans", b"body", 1)
        spool.set_aside(spool.put("spans", b"poison", 1), "status 400")
        print([item.body for item in spool.take(9)], len(spool.set_aside_items()), spool.adopt())
        spool.ack([seq])
        spool.close()
    """
    assert told(program(code, tmp_path)) == "[b'body'] 1 0\n"


def test_a_disk_that_is_full_holds_what_it_can_and_more_when_there_is_room(
    opened: Callable[..., Spool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "DISK_PAUSE", 0.0)
    with tempfile.TemporaryDirectory() as name:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", name], capture_output=True, check=False
        )
        if mounted.returncode:
            pytest.skip(f"mounts are not permitted here: {mounted.stderr.decode()}")
        try:
            spool = opened(directory=Path(name))
            expected = [os.urandom(20_000) for _ in range(60)]
            for body in expected:
                spool.put("spans", body, 1)
            assert bodies(spool) == expected
            found: list[bytes] = []
            while items := spool.take(3):
                found += [item.body for item in items]
                spool.ack(item.seq for item in items)
            assert found == expected
            assert spool.pending() == Load()
            spool.close()
            assert files(Path(name) / "project") == []
            spool.put("spans", b"next", 1)
            spool.close()
            assert spool.adopt() == 1
            spool.ack(item.seq for item in spool.take(9))
            spool.close()
        finally:
            subprocess.run(["umount", name], check=True)


def test_what_is_in_memory_goes_to_the_disk_when_it_works_again(
    opened: Callable[..., Spool], tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "DISK_PAUSE", 0.0)
    folder.touch()
    spool = opened()
    spool.put("spans", b"first", 1)
    spool.take(1)
    folder.unlink()
    spool.put("spans", b"second", 1)
    assert ".db" in files(folder)
    assert bodies(spool) == [b"first", b"second"]
    spool.close()
    assert spool.stats.lost == 0
    spool.adopt()
    assert bodies(spool) == [b"first", b"second"]


def test_a_file_that_somebody_locks_is_not_waited_for(
    opened: Callable[..., Spool], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = opened()
    first = spool.put("spans", b"first", 1)
    (path,) = folder.glob("*.db")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    started = time.monotonic()
    spool.put("spans", b"second", 1)
    spool.put("spans", b"third", 1)
    assert bodies(spool) == [b"first", b"second", b"third"]
    spool.ack([first])
    # What was delivered is not sent again, though the file still has it.
    assert bodies(spool) == [b"second", b"third"]
    assert spool.pending() == Load(2, 2, 11)
    assert time.monotonic() - started < 2
    other.execute("COMMIT")
    other.close()
    monkeypatch.setattr(spool, "_disk_from", 0.0)
    spool.put("spans", b"fourth", 1)
    spool.ack([])
    spool.close()
    assert spool.adopt() == 3
    assert bodies(spool) == [b"second", b"third", b"fourth"]


def test_a_file_that_is_no_database_is_kept_and_does_not_stop_the_rest(
    opened: Callable[..., Spool], tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    killed("spool.put('spans', b'good', 1)", tmp_path)
    (folder / "1-0.db").write_bytes(b"no database" * 5000)
    (folder / "1-1.db").touch()
    spool = opened()
    assert spool.adopt() == 1
    assert bodies(spool) == [b"good"]
    assert (folder / "1-0.corrupt").read_bytes().startswith(b"no database")
    assert sorted(path.name for path in folder.glob("1-*")) == ["1-0.corrupt"]
    assert "damaged" in caplog.text


def test_a_damaged_file_gives_what_can_still_be_read(
    opened: Callable[..., Spool], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = opened()
    expected = [b"%04d" % number + b"." * 3000 for number in range(200)]
    for body in expected:
        before.put("spans", body, 2)
    before.close()
    (path,) = folder.glob("*.db")
    content = bytearray(path.read_bytes())
    place = content.index(expected[100])
    page = place // 4096 * 4096
    content[page : page + 4096] = os.urandom(4096)
    path.write_bytes(content)
    spool = opened()
    spool.adopt()
    found = drained(spool) or bodies(spool)
    assert len(found) > 190
    assert set(found) <= set(expected)
    assert found == sorted(found)
    assert list(folder.glob("*.corrupt")) != []
    assert len([record for record in caplog.records if "damaged" in record.message]) == 1


def test_a_file_damaged_while_it_is_used_is_replaced(opened: Callable[..., Spool], folder: Path) -> None:
    spool = opened()
    for number in range(1500):
        spool.put("spans", b"%04d" % number + b"." * 3000, 1)
    (path,) = folder.glob("*.db")
    with path.open("r+b") as file:
        file.write(b"\0" * 100)
        for page in range(100, 900):
            file.seek(page * 4096)
            file.write(os.urandom(4096))
    taken = 0
    while items := spool.take(20):
        taken += len(items)
        spool.ack(item.seq for item in items)
    spool.put("spans", b"new", 1)
    assert bodies(spool) == [b"new"]
    assert taken + spool.stats.lost >= 1500
    assert list(folder.glob("*.corrupt")) != []
    assert len(list(folder.glob("*.db"))) == 1


def test_of_a_file_that_is_damaged_what_was_taken_is_not_lost_yet(
    opened: Callable[..., Spool], folder: Path
) -> None:
    spool = opened()
    for number in range(20):
        spool.put("spans", b"%04d" % number, 1)
    taken = spool.take(10)
    for path in folder.glob("*.db*"):
        path.write_bytes(os.urandom(path.stat().st_size))
    spool.put("spans", b"new", 1)
    assert not spool.is_durable
    rest = spool.take(20, besides=[item.seq for item in taken])
    assert spool.stats.lost == 11 - len(rest)
    assert rest[-1].body == b"new"
    spool.ack(item.seq for item in [*taken[:-1], *rest])
    spool.close()
    assert spool.stats.lost == 12 - len(rest)


def test_a_folder_that_somebody_removes_is_made_anew(opened: Callable[..., Spool], folder: Path) -> None:
    spool = opened()
    for number in range(10):
        spool.put("spans", b"%d" % number, 1)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    spool.adopt()
    assert ".db" in files(folder)
    assert bodies(spool) == [b"%d" % number for number in range(10)]
    assert spool.stats.lost == 0


# All of it


def test_threads_share_a_spool(opened: Callable[..., Spool]) -> None:
    spool = opened()
    found: list[bytes] = []

    def put(thread: int) -> None:
        for number in range(50):
            spool.put("spans", b"%d-%03d" % (thread, number), 1)

    threads = [threading.Thread(target=put, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) or spool.pending().items:
        items = spool.take(5)
        found += [item.body for item in items]
        spool.ack(item.seq for item in items)
    assert len(found) == 200
    for thread in range(4):
        mine = [body for body in found if body.startswith(b"%d-" % thread)]
        assert mine == sorted(mine)


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["put", "take", "ack", "aside"]), st.integers(0, 9)),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(OPERATIONS)
def test_disk_and_memory_do_the_same(operations: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        disk, memory = Spool.open(Path(name), "p", 200), Spool.open(None, "p", 200)
        said: list[list[Any]] = []
        for spool in (disk, memory):
            held: list[int] = []
            log: list[Any] = []
            for operation, number in operations:
                if operation == "put":
                    held.append(spool.put("spans", b"%d" % number * 20, number))
                elif operation == "take":
                    log.append(spool.take(number))
                elif operation == "ack":
                    spool.ack(held[:number:2])
                else:
                    [spool.set_aside(seq, "reason") for seq in held[number : number + 1]]
                log.append((spool.pending(), spool.stats.dropped, spool.stats.set_aside))
            log.append([(aside.item, aside.reason) for aside in spool.set_aside_items()])
            said.append(log)
            spool.ack(held)
            assert spool.pending() == Load()
            spool.close()
        assert said[0] == said[1], json.dumps(operations)
        assert [path.suffix for path in (Path(name) / "p").glob("*")] in ([], [".sqlite"])
