"""Heads of the audit on their way to the ledger: when, behind the calls, after failures and restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.errors import Code, EnvironmentFault
from mcp_server.audit.anchoring import Anchoring, Keeper, Pace
from mcp_server.audit.files import read_log
from mcp_server.audit.records import Anchored
from mcp_server.audit.walk import Walk
from mcp_server.audit.writer import Settings
from tests.support.auditing import Server, intact, kill, start

PACE = Pace(records=20, seconds=600.0)


class Keeping:
    """Keeps anchors as the ledger would; away while it is told to be."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, int, str]] = []
        self.is_away = False
        self.asked = 0

    def anchor(self, log: str, count: int, head: str) -> int:
        self.asked += 1
        if self.is_away:
            raise EnvironmentFault(Code.RPC_UNREACHABLE, got="nobody", expected="a node")
        self.kept.append((log, count, head))
        return 100 + len(self.kept)


def anchoring(server: Server, place: Keeping) -> Anchoring:
    return Anchoring(server.log, place, server.time.seconds, PACE)


@pytest.mark.requires("audit.anchored")
def test_a_head_is_anchored_after_so_many_records_or_seconds_and_never_twice(tmp_path: Path) -> None:
    server, place = start(tmp_path, settings=Settings(head_records=4)), Keeping()
    work = anchoring(server, place)
    assert work.step(), "what the server before left is due at once"
    for _ in range(3):
        server.call()
    assert not work.step()
    for _ in range(12):
        server.call()
    assert work.step()
    server.call()
    server.time.pass_s(5)
    server.log.tick()
    assert not work.step()
    server.time.pass_s(600)
    assert work.step()
    for _ in range(5):
        server.time.pass_s(600)
        server.log.tick()
        assert not work.step(), "an idle server anchors nothing"
    assert len(place.kept) == 3
    server.log.close()
    found = intact(server.folder)
    hashes = _hashes(server.folder)
    assert all(hashes[count] == head for _, count, head in place.kept)
    assert found.walk.anchored is not None
    assert found.walk.anchored.count == place.kept[-1][1]


@pytest.mark.requires("audit.anchored")
def test_only_what_is_signed_and_on_the_disk_is_anchored(tmp_path: Path) -> None:
    server, place = start(tmp_path), Keeping()
    work = anchoring(server, place)
    signed = server.log.signed.sequence
    server.call()
    assert work.step()
    assert place.kept[0][1] == signed
    assert server.log.head.sequence > signed


@pytest.mark.requires("audit.anchored")
def test_while_the_ledger_is_away_calls_go_on_and_only_the_newest_head_waits(tmp_path: Path) -> None:
    server, place = start(tmp_path, settings=Settings(head_records=2)), Keeping()
    work = anchoring(server, place)
    place.is_away = True
    for _ in range(50):
        server.call()
        assert not work.step()
    assert place.asked < 5, "it is asked more and more seldom"
    assert work.last_error is not None
    assert work.last_error.code is Code.RPC_UNREACHABLE
    place.is_away = False
    server.time.pass_s(61)
    assert work.step()
    assert [count for _, count, _ in place.kept] == [server.log.signed.sequence]


@pytest.mark.requires("audit.anchored")
def test_a_server_started_again_goes_on_from_what_its_log_says(tmp_path: Path) -> None:
    server, place = start(tmp_path), Keeping()
    assert anchoring(server, place).step()
    server.call()
    kill(server)
    again = start(tmp_path, time=server.time)
    assert again.log.anchored == place.kept[0][1]
    assert anchoring(again, place).step(), "the calls before the kill are not anchored yet"
    assert not anchoring(again, place).step()
    assert place.kept[1][1] > place.kept[0][1]
    again.log.close()
    intact(again.folder)


@pytest.mark.requires("audit.anchored")
def test_the_keeper_ends_with_a_signed_head(tmp_path: Path) -> None:
    server = start(tmp_path)
    keeper = Keeper(server.log, anchoring(server, Keeping()))
    keeper.start()
    server.call()
    keeper.stop()
    keeper.stop()
    assert intact(server.folder).walk.is_closed


def _hashes(folder: Path) -> dict[int, str]:
    walk, found = Walk(), {}
    for record in read_log(folder, walk):
        found[record.sequence] = walk.tip.hash
        if isinstance(record.body, Anchored):
            assert found[record.body.count] == record.body.head
    return found
