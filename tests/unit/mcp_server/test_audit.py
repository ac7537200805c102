"""The audit of calls: what is recorded, when it is durable, and what becomes of what cannot be recorded."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.errors import Code, ConclaveError, EnvironmentFault, Refused, VerificationFailed
from ledger.types import JsonObject
from mcp_server.audit import limits
from mcp_server.audit.audited import Audited
from mcp_server.audit.door import Door
from mcp_server.audit.files import LOCK_NAME, lines, read_log, segments
from mcp_server.audit.records import Decision, Ended, Head, Outcome, Record, Segment, Started, Verdict
from mcp_server.audit.walk import Walk
from mcp_server.audit.writer import Settings
from mcp_server.chain import Call, Passed, Unguarded
from tests.support.auditing import AGENT, ANSWER, Server, broken, intact, kill, start

SECRET = "ghp_" + "a1B2" * 9
WARNING: JsonObject = {"code": 908, "name": "FIRST_TOUCH", "expected": "what is usual"}


class Judging(Unguarded):
    """Refuses, warns of and withholds calls by their name."""

    def before(self, call: Call) -> tuple[JsonObject, ...]:
        if call.name == "refused":
            raise Refused(Code.LOOP_DETECTED, got=SECRET, expected="something new", loop="same-call", count=6)
        if call.name == "suspended":
            raise Refused(Code.AGENT_SUSPENDED, got="one too many", cause="SECRET_FOUND")
        if call.name == "broken":
            raise ValueError(SECRET)
        return (WARNING,) if call.name == "warned" else ()

    def after(self, call: Call, result: JsonObject, shown: tuple[str, ...] = ()) -> Passed:
        if call.name == "withheld":
            raise Refused(Code.SECRET_FOUND, got=SECRET, kind="token")
        return Passed(result)


def records(server: Server) -> list[Record]:
    return list(read_log(server.folder, Walk(), is_live=True))


def told(server: Server) -> tuple[Decision, Outcome]:
    """Give the newest decision and outcome."""
    bodies = [record.body for record in records(server)]
    decision = [body for body in bodies if isinstance(body, Decision)][-1]
    outcome = [body for body in bodies if isinstance(body, Outcome)][-1]
    assert decision.call == outcome.call
    return decision, outcome


@pytest.mark.requires("audit.records")
def test_a_call_has_a_decision_before_it_and_an_outcome_after(tmp_path: Path) -> None:
    server = start(tmp_path)
    call = Call("tool", "get_object", {"kind": "Release", "name": SECRET}, AGENT)
    server.chain.before(call)
    decided = records(server)[-1].body
    assert isinstance(decided, Decision)
    assert (decided.call, decided.principal, decided.verdict) == (call.id, AGENT, Verdict.ALLOW)
    assert decided.arguments == server.log.digester.of(call.arguments)
    server.time.pass_s(0.25)
    server.chain.after(call, ANSWER)
    _, outcome = told(server)
    assert (outcome.ended, outcome.height, outcome.duration_us) == (Ended.ANSWERED, 7, 250_000)
    assert outcome.result == server.log.digester.of(ANSWER)
    failed = Call("tool", "x", None)
    server.chain.before(failed)
    server.chain.after(failed, {"error": {"code": 404, "name": "RELEASE_UNKNOWN"}})
    assert records(server)[-1].body.to_json()["ended"] == "error"


@pytest.mark.requires("audit.records")
@pytest.mark.parametrize(
    ("name", "verdict", "ended", "names"),
    [
        ("refused", Verdict.REFUSE, Ended.REFUSED, ["LOOP_DETECTED"]),
        ("suspended", Verdict.SUSPEND, Ended.REFUSED, ["AGENT_SUSPENDED"]),
        ("broken", Verdict.REFUSE, Ended.REFUSED, ["INTERNAL"]),
        ("warned", Verdict.WARN, Ended.ANSWERED, ["FIRST_TOUCH"]),
        ("withheld", Verdict.ALLOW, Ended.WITHHELD, ["SECRET_FOUND"]),
    ],
)
def test_whatever_becomes_of_a_call_it_has_both_with_the_guards_codes(
    tmp_path: Path, name: str, verdict: Verdict, ended: Ended, names: list[str]
) -> None:
    server = start(tmp_path, inner=Judging())
    if name == "warned":
        server.call(name)
    else:
        with pytest.raises((ConclaveError, ValueError)):
            server.call(name)
    decision, outcome = told(server)
    assert (decision.verdict, outcome.ended) == (verdict, ended)
    assert [reason["name"] for reason in (*decision.reasons, *outcome.reasons)] == names
    if name == "refused":
        assert decision.reasons[0]["loop"] == "same-call"
    if name == "withheld":
        assert outcome.result is None
    server.log.close()
    intact(server.folder)


@pytest.mark.requires("audit.repeats")
def test_one_caller_has_so_many_refusals_written_whole_and_the_one_that_cuts_it_off(tmp_path: Path) -> None:
    server = start(tmp_path, inner=Judging())
    door = Door()
    chain = Audited(Judging(), server.log, lambda: server.time.now_ns, door)

    def made(name: str, times: int, principal: str | None = AGENT) -> int:
        before = len(records(server))
        for _ in range(times):
            with contextlib.suppress(ConclaveError):
                chain.before(Call("tool", name, {}, principal))
        written = [record.body for record in records(server)[before:]]
        return sum(isinstance(body, Decision) for body in written)

    most = limits.REFUSED_CALLS_MAX
    assert made("refused", most + 36) == most
    assert made("suspended", 200) == 1
    assert door.peek() == {"AGENT_SUSPENDED": 199, "LOOP_DETECTED": 36}
    assert made("refused", 1, None) == 1, "another caller has its own share"
    server.time.pass_s(limits.REFUSED_CALLS_SECONDS / most)
    assert made("suspended", 5) == 1
    passes = Call("tool", "fine", {}, AGENT)
    chain.before(passes)
    chain.after(passes, ANSWER)
    assert made("suspended", 5) == 1, "it was let in again, and what cut it off anew is written"
    server.log.close()
    intact(server.folder)


@pytest.mark.requires("audit.no-secrets")
def test_no_argument_answer_or_secret_is_in_the_files(tmp_path: Path) -> None:
    server = start(tmp_path, inner=Judging())
    server.call("get_object", answer={"items": [{"token": SECRET}]}, password=SECRET, plain="hunter2")
    server.call(SECRET)
    server.call("x" * 100_000)
    server.call("odd \ud800 \x1b[2J")
    server.call("deep", value=[[1.5, 2**70, "\ud800"]])
    with pytest.raises(Refused):
        server.call("refused", token=SECRET)
    server.log.close()
    content = b"".join(path.read_bytes() for path in segments(server.folder))
    for word in (SECRET.encode(), b"hunter2", b"password", b"items", b"\x1b"):
        assert word not in content
    assert max(map(len, content.splitlines())) < limits.LINE_BYTES_MAX
    intact(server.folder)


@pytest.mark.requires("audit.no-secrets")
def test_equal_arguments_are_known_within_a_log_and_nowhere_else(tmp_path: Path) -> None:
    one, other = start(tmp_path), start(tmp_path, name="other")
    for server in (one, other):
        server.call("a", x=1, y=2)
    same = Call("tool", "b", {"y": 2, "x": 1}, AGENT)
    assert one.log.digester.of(same.arguments) == told(one)[0].arguments
    assert told(one)[0].arguments.hex != told(other)[0].arguments.hex
    assert (one.folder / "digest.key").stat().st_mode & 0o077 == 0


@pytest.mark.requires("audit.durable")
def test_a_decision_is_on_the_disk_before_the_call_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(tmp_path)
    seen: list[str] = []
    _spy(monkeypatch, "write", seen)
    _spy(monkeypatch, "fdatasync", seen)
    call = Call("tool", "x", {}, AGENT)
    server.chain.before(call)
    assert seen == ["write", "fdatasync"]
    server.chain.after(call, ANSWER)
    assert seen == ["write", "fdatasync", "write"], "the outcome is in the file, and synced with what follows"
    server.time.pass_s(limits.HEAD_SECONDS)
    assert server.log.tick()
    assert seen[3:] == ["write", "fdatasync"]


@pytest.mark.requires("audit.fail-closed")
def test_without_room_a_call_is_refused_and_with_room_again_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(tmp_path)
    server.call()
    with monkeypatch.context() as full:
        _fail(full, "write", errno.ENOSPC, written=100)
        with pytest.raises(EnvironmentFault) as refused:
            server.chain.before(Call("tool", "x", {}, AGENT))
        assert refused.value.code is Code.DISK_FULL
    server.call()
    server.log.close()
    assert intact(server.folder).walk.counts.calls == 2


@pytest.mark.requires("audit.fail-closed")
def test_an_answer_whose_outcome_finds_no_room_is_withheld_and_said_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(tmp_path)
    call = Call("tool", "x", {}, AGENT)
    server.chain.before(call)
    with monkeypatch.context() as full:
        _fail(full, "write", errno.ENOSPC)
        with pytest.raises(EnvironmentFault):
            server.chain.after(call, ANSWER)
        with pytest.raises(EnvironmentFault):
            server.chain.before(Call("tool", "y", {}, AGENT))
    server.call("z")
    server.log.close()
    outcomes = [record.body for record in records(server) if isinstance(record.body, Outcome)]
    assert [(body.call == call.id, body.ended) for body in outcomes] == [
        (True, Ended.WITHHELD),
        (False, Ended.ANSWERED),
    ]
    assert outcomes[0].reasons[0]["name"] == "DISK_FULL"
    intact(server.folder)


@pytest.mark.requires("audit.fail-closed")
@pytest.mark.parametrize("harm", ["sync", "truncate", "removed", "longer"])
def test_a_log_that_may_not_be_what_it_should_takes_no_further_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    server = start(tmp_path)
    server.call()
    newest = segments(server.folder)[-1]
    with monkeypatch.context() as bad:
        if harm == "sync":
            _fail(bad, "fdatasync", errno.EIO)
        elif harm == "truncate":
            _fail(bad, "write", errno.ENOSPC, written=10)
            _fail(bad, "ftruncate", errno.EIO)
        elif harm == "removed":
            newest.unlink()
        else:
            with newest.open("ab") as file:
                file.write(b"{}\n")
        with pytest.raises(EnvironmentFault):
            server.call("x")
    with pytest.raises(EnvironmentFault) as refused:
        server.call("y")
    assert refused.value.code is Code.STATE_IO_FAILED


@pytest.mark.requires("audit.fail-closed")
def test_a_call_whose_end_was_never_told_is_said_to_be_lost(tmp_path: Path) -> None:
    server = start(tmp_path)
    lost = Call("tool", "x", {}, AGENT)
    server.chain.before(lost)
    server.call()
    server.log.close()
    ends = {b.call: b.ended for b in (r.body for r in records(server)) if isinstance(b, Outcome)}
    assert ends[lost.id] is Ended.LOST
    intact(server.folder)


@pytest.mark.requires("audit.signed")
def test_heads_are_signed_after_so_many_records_and_seconds_and_at_the_end(tmp_path: Path) -> None:
    server = start(tmp_path, settings=Settings(head_records=8, head_seconds=5.0))
    assert not server.log.tick()
    for _ in range(10):
        server.call()
    signed = [record.sequence for record in records(server) if isinstance(record.body, Head)]
    assert len(signed) == 3
    assert all(later - before <= 9 for before, later in itertools.pairwise(signed))
    server.call()
    assert not server.log.tick()
    server.time.pass_s(5.0)
    assert server.log.tick()
    assert not server.log.tick(), "an idle log does not grow"
    server.log.close()
    found = intact(server.folder)
    assert found.walk.is_closed
    assert found.walk.signed == found.walk.tip.sequence


@pytest.mark.requires("audit.rotation")
def test_files_end_by_size_and_age_and_each_names_log_node_key_and_the_head_before(tmp_path: Path) -> None:
    server = start(tmp_path, settings=Settings(head_records=8, segment_bytes=4000, segment_seconds=3600))
    for _ in range(12):
        server.call()
    by_size = len(segments(server.folder))
    assert by_size > 2
    server.time.pass_s(3601)
    call = Call("tool", "x", {}, AGENT)
    server.chain.before(call)
    assert len(segments(server.folder)) == by_size + 1
    server.chain.after(call, ANSWER)
    server.log.close()
    headers = [record for record in records(server) if isinstance(record.body, Segment)]
    assert [record.body.to_json()["number"] for record in headers] == list(range(1, by_size + 2))
    assert {(h.body.to_json()["node"], h.body.to_json()["key"]) for h in headers} == {
        (server.signer.did, server.signer.key_id)
    }
    assert all(path.stat().st_size < 4000 + 4 * 600 for path in segments(server.folder))
    intact(server.folder)


@pytest.mark.requires("audit.resumed")
def test_a_record_broken_off_anywhere_is_cut_and_said_so(tmp_path: Path) -> None:
    server = start(tmp_path)
    server.call()
    call = Call("tool", "x", {}, AGENT)
    server.chain.before(call)
    kill(server)
    newest = segments(server.folder)[-1]
    whole = newest.read_bytes()
    begin = whole[:-1].rindex(b"\n") + 1
    for end, room in [
        (len(whole) - 1, 0),
        (begin + 1, 0),
        (begin + 100, 0),
        (begin + 100, 5000),
        (begin, 64),
    ]:
        newest.write_bytes(whole[:end] + bytes(room))
        again = start(tmp_path)
        body = [record.body for record in records(again) if isinstance(record.body, Started)][-1]
        assert body.torn is not None
        assert body.torn.size == end - begin + room
        assert body.unfinished == ()
        kill(again)
    newest.write_bytes(whole)
    again = start(tmp_path)
    body = [record.body for record in records(again) if isinstance(record.body, Started)][-1]
    assert (body.torn, body.unfinished) == (None, (call.id,))
    again.call()
    again.log.close()
    found = intact(server.folder)
    assert (found.walk.counts.kills, found.walk.counts.unfinished) == (1, 1)


@pytest.mark.requires("audit.resumed")
def test_a_log_that_does_not_verify_is_not_written_to(tmp_path: Path) -> None:
    server = start(tmp_path)
    for _ in range(3):
        server.call()
    server.log.close()
    newest = segments(server.folder)[-1]
    whole = newest.read_bytes()
    place = whole.index(b'"allow"')
    for other in (
        whole.replace(b'"allow"', b'"aliow"', 1),
        whole[: place + 1] + whole[place + 2 :],
        whole + b"{}\n",
        whole[:200] + bytes(64) + whole[264:],
        b"",
    ):
        newest.write_bytes(other)
        with pytest.raises(VerificationFailed) as refused:
            start(tmp_path)
        assert refused.value.code.name.startswith("AUDIT_")
        assert "evidence" in refused.value.todo
        assert newest.read_bytes() == other
    newest.write_bytes(whole)
    start(tmp_path).log.close()
    (server.folder / "digest.key").write_bytes(bytes(32))
    with pytest.raises(EnvironmentFault):
        start(tmp_path)


@pytest.mark.requires("audit.resumed")
def test_a_file_that_was_being_begun_is_as_if_it_was_not(tmp_path: Path) -> None:
    server = start(tmp_path)
    server.call()
    kill(server)
    (server.folder / "next").write_bytes(b'{"hash":')
    again = start(tmp_path)
    assert not (server.folder / "next").exists()
    again.log.close()
    intact(server.folder)


@pytest.mark.requires("audit.one-writer")
def test_two_servers_never_write_to_one_log_nor_two_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, other = start(tmp_path), start(tmp_path), start(tmp_path, name="other")
    assert len({server.log.id for server in (one, two, other)}) == 3
    for server in (one, two, other):
        server.call()
        server.log.close()
    again = start(tmp_path, name="other")
    assert again.log.id == other.log.id
    again.log.close()
    monkeypatch.setattr(limits, "LOGS_MAX", 1)
    kept = start(tmp_path)
    with pytest.raises(EnvironmentFault) as refused:
        start(tmp_path)
    assert refused.value.code is Code.STATE_LOCKED
    kept.log.close()


@pytest.mark.requires("audit.one-writer")
def test_who_verifies_at_that_moment_does_not_make_a_server_begin_another_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(tmp_path)
    server.log.close()
    looks = os.open(server.folder / LOCK_NAME, os.O_RDONLY)
    fcntl.flock(looks, fcntl.LOCK_SH)
    waited: list[float] = []

    def pause(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            os.close(looks)

    monkeypatch.setattr(time, "sleep", pause)
    again = start(tmp_path)
    assert (again.log.id, len(waited)) == (server.log.id, 3)
    assert start(tmp_path).log.id != again.log.id
    assert len(waited) == 3, "a writer is not waited for"


@pytest.mark.requires("audit.verify")
def test_a_log_under_a_servers_hand_verifies_and_a_torn_end_of_nobodys_does_not(tmp_path: Path) -> None:
    server = start(tmp_path)
    server.call()
    newest = segments(server.folder)[-1]
    with newest.open("ab") as file:
        file.write(b'{"hash":"')
    assert intact(server.folder).is_live
    kill(server)
    assert broken(server.folder).code is Code.AUDIT_RECORD_INVALID
    assert [line.is_whole for line in lines(newest)][-1] is False


def _spy(patch: pytest.MonkeyPatch, name: str, seen: list[str]) -> None:
    real: Callable[..., object] = getattr(os, name)

    def spied(*given: object) -> object:
        seen.append(name)
        return real(*given)

    patch.setattr(os, name, spied)


def _fail(patch: pytest.MonkeyPatch, name: str, number: int, written: int = 0) -> None:
    real: Callable[..., object] = getattr(os, name)
    left = [written]

    def failing(file: int, content: bytes | int = b"") -> object:
        if left[0] and isinstance(content, bytes):
            part, left[0] = content[: left[0]], 0
            return real(file, part)
        raise OSError(number, os.strerror(number))

    patch.setattr(os, name, failing)
