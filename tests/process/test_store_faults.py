"""What the world does to a store: kill -9, changed bytes, a second process, no room."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import plyvel
import pytest

from ledger.errors import Code, EnvironmentFault
from state.batch import Write
from state.owner import OWNER_FILE
from state.store import Store
from tests.unit.state.chain import content_at, grow, tree_of

ROOT = Path(__file__).resolve().parents[3]
COMMIT_FOR_EVER = """
import sys
from state.store import Store
from tests.unit.state.chain import grow
with Store.open(sys.argv[1]) as store:
    while True:
        print(grow(store, store.committed.height + 1).height, flush=True)
"""
OPEN = """
import sys
from state.store import Store
try:
    Store.open(sys.argv[1]).close()
except Exception as error:
    print(error.code.name)
"""
NO_ROOM = """
import resource, sys
from ledger.errors import EnvironmentFault
from state.batch import stage
from state.store import Store
from tests.unit.state.chain import grow
with Store.open(sys.argv[1]) as store:
    before = grow(store, 5)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
    staged = stage(before, 6, 1, {b"large": bytes(200_000)})
    for _ in range(2):
        try:
            store.commit(staged)
        except EnvironmentFault as fault:
            print(fault.code.name)
    print(store.committed is before, store.get(b"large"))
"""


def _run(program: str, path: Path) -> list[str]:
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=240)
    return done.stdout.split()


def _flip(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 0x55
    file.write_bytes(bytes(content))


def _open_or_code(path: Path) -> Code | int:
    """Open a store: the code of its fault, or the height, whose content must then be whole and right."""
    try:
        with Store.open(path) as store:
            height = store.committed.height
            content = content_at(height)
            assert store.committed.app_hash == tree_of(height).root
            assert {key: store.get(key) for key in content} == content
            return height
    except EnvironmentFault as fault:
        return fault.code


@pytest.mark.requires("state.kill-consistent")
def test_kill_during_commits_leaves_a_whole_version(tmp_path: Path) -> None:
    reached = 0
    for acknowledged in (3, 40, 150):
        command = [sys.executable, "-c", COMMIT_FOR_EVER, str(tmp_path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(acknowledged):
                last = int(process.stdout.readline())
            process.kill()
            last = max([last, *(int(line) for line in process.stdout.read().splitlines(keepends=True)[:-1])])
        assert last >= reached + acknowledged
        with Store.open(tmp_path) as store:
            reached = store.committed.height
            assert last <= reached
            assert store.committed.app_hash == tree_of(reached).root
            assert store.get(b"height") == b"%d" % reached


@pytest.mark.requires("state.corruption-named")
def test_a_changed_byte_in_the_middle_of_the_log_is_named(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        grow(store, 5)
    (log,) = tmp_path.glob("*.log")
    at = log.read_bytes().index(b"height", log.stat().st_size // 2)
    _flip(log, at)
    with pytest.raises(EnvironmentFault) as fault:
        Store.open(tmp_path)
    assert fault.value.code is Code.STATE_CORRUPT
    assert str(tmp_path) in str(fault.value)


@pytest.mark.requires("state.corruption-named")
@pytest.mark.parametrize("compacted", [False, True])
def test_no_changed_byte_gives_a_wrong_state(tmp_path: Path, compacted: bool) -> None:
    source = tmp_path / "source"
    with Store.open(source) as store:
        grow(store, 5)
    if compacted:
        with Store.open(source) as store:
            assert list(source.glob("*.ldb"))
    files = [file for file in source.iterdir() if file.name not in ("LOCK", "LOG", "LOG.old")]
    outcomes: set[Code | int] = set()
    for file in files:
        size = file.stat().st_size
        for at in {*range(0, size, max(1, size // 25)), *range(size - 48, size, 3)} & set(range(size)):
            copy = tmp_path / "copy"
            shutil.copytree(source, copy)
            _flip(copy / file.name, at)
            outcomes.add(_open_or_code(copy))
            shutil.rmtree(copy)
    assert outcomes == {Code.STATE_CORRUPT, 5}


def _cut_heights(source: Path, copy: Path) -> list[Code | int]:
    """Open copies of ``source`` whose log is cut shorter and shorter."""
    (log,) = source.glob("*.log")
    whole = log.read_bytes()
    found = []
    for cut in range(0, len(whole), len(whole) // 20):
        shutil.copytree(source, copy)
        (copy / log.name).write_bytes(whole[: len(whole) - cut])
        found.append(_open_or_code(copy))
        shutil.rmtree(copy)
    return found


@pytest.mark.requires("state.acknowledged-kept")
def test_a_log_cut_below_what_was_acknowledged_is_named(tmp_path: Path) -> None:
    with Store.open(tmp_path / "source") as store:
        grow(store, 5)
    assert _cut_heights(tmp_path / "source", tmp_path / "copy") == [5, *[Code.STATE_CORRUPT] * 20]


@pytest.mark.requires("state.acknowledged-kept")
def test_who_removes_the_mark_goes_on_from_the_whole_version_before(tmp_path: Path) -> None:
    with Store.open(tmp_path / "source") as store:
        grow(store, 5)
    (tmp_path / "source" / OWNER_FILE).unlink()
    heights = _cut_heights(tmp_path / "source", tmp_path / "copy")
    assert set(heights) == {0, 1, 2, 3, 4, 5}
    assert heights == sorted(heights, key=int, reverse=True)


@pytest.mark.requires("state.corruption-named")
@pytest.mark.parametrize(
    "write",
    [
        Write(b"s/constant", b"other"),
        Write(b"s/constant", None),
        Write(b"s/extra", b"x"),
        Write(b"s/", b"empty key"),
        Write(b"s/constant", b""),
        Write(b"m", b"short"),
        Write(b"m", None),
        Write(b"r/" + (5).to_bytes(8, "big"), bytes(32)),
    ],
)
def test_a_state_that_does_not_hash_to_its_marker_is_named(tmp_path: Path, write: Write) -> None:
    with Store.open(tmp_path) as store:
        grow(store, 5)
        store._write([write], sync=True)
    assert _open_or_code(tmp_path) is Code.STATE_CORRUPT


@pytest.mark.requires("state.corruption-named")
def test_wrong_undo_records_are_named(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        grow(store, 5)
        store._write([Write(b"u/" + (4).to_bytes(8, "big") + b"/height", b"\x01forged")], sync=True)
    with Store.open(tmp_path) as store, pytest.raises(EnvironmentFault) as fault:
        store.tree_at(3)
    assert fault.value.code is Code.STATE_CORRUPT


@pytest.mark.requires("state.locked-named")
def test_a_second_opening_is_named(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        grow(store, 2)
        with pytest.raises(EnvironmentFault) as fault:
            Store.open(tmp_path)
        assert fault.value.code is Code.STATE_LOCKED
        assert _run(OPEN, tmp_path) == ["STATE_LOCKED"]
        grow(store, 3)
    assert _run(OPEN, tmp_path) == []


@pytest.mark.requires("state.disk-full-named")
def test_no_room_is_named_and_leaves_the_last_version(tmp_path: Path) -> None:
    assert _run(NO_ROOM, tmp_path) == ["DISK_FULL", "DISK_FULL", "True", "None"]
    assert _open_or_code(tmp_path) == 5


@pytest.mark.requires("state.disk-full-named")
def test_every_other_fault_has_a_code(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EnvironmentFault) as fault:
        Store.open(tmp_path / "file")
    assert fault.value.code is Code.STATE_IO_FAILED
    plyvel.DB(str(tmp_path / "foreign"), create_if_missing=True).close()
    with plyvel.DB(str(tmp_path / "foreign")) as foreign:
        foreign.put(b"a", b"b")
    assert _open_or_code(tmp_path / "foreign") is Code.STATE_CORRUPT
