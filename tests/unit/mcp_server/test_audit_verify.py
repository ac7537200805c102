"""Verifying audit logs: every harm is found, where it is, with a code; nothing passes what others know."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ledger import canonical
from ledger.errors import Code, VerificationFailed
from mcp_server.audit import limits
from mcp_server.audit.digests import Digest
from mcp_server.audit.files import Trust, absent, check, read_log, segments
from mcp_server.audit.links import Tip, framed, sealed, unframed
from mcp_server.audit.opening import open_log
from mcp_server.audit.records import Decision, Ended, Head, Outcome, Record, Verdict, read_record
from mcp_server.audit.walk import Mark, Walk
from mcp_server.audit.writer import Identity, Settings
from tests.support.auditing import (
    CODES,
    Ticking,
    a_log,
    all_lines,
    broken,
    harmed,
    intact,
    key_in,
    kill,
    start,
)


def mark_of(folder: Path, count: int = 0) -> Mark:
    """Give what somebody else would know of record ``count``, of the last one if it is 0."""
    walk = Walk()
    for record in read_log(folder, walk):
        if record.sequence == count:
            break
    assert walk.header is not None
    return Mark(walk.header.log, walk.tip.sequence, walk.tip.hash, "me")


def bodies(folder: Path) -> list[Record]:
    return list(read_log(folder, Walk()))


@pytest.mark.requires("audit.verify")
def test_each_record_left_out_doubled_or_moved_and_each_missing_file_is_found_where_it_is(
    tmp_path: Path,
) -> None:
    folder = a_log(tmp_path)
    mark = mark_of(folder)
    assert intact(folder, mark).walk.marks_met == 1
    count = 0
    for what in harmed(folder):
        error = broken(folder, mark)
        count += 1
        assert error.code in CODES, what
        assert {"file", "sequence"} <= error.facts.keys(), what
        if error.code is not Code.AUDIT_CUT:
            assert {"line", "offset"} <= error.facts.keys(), what
            name, _, place = what.partition(" ")[0].partition(":")
            if what.endswith("doubled"):
                assert (error.facts["file"], error.facts["line"]) == (name, int(place) + 1), what
    assert count > 60
    intact(folder, mark)


@pytest.mark.requires("audit.verify")
def test_a_signature_by_another_key_is_forged(tmp_path: Path) -> None:
    folder, other = a_log(tmp_path), key_in(tmp_path, "thief")
    _rewritten(folder, other.sign)
    error = broken(folder)
    assert (error.code, error.facts["sequence"]) == (Code.AUDIT_SIGNATURE_INVALID, 3)
    # A whole log written under another key is found by whoever knows the right key, or a head.
    stolen = tmp_path / "stolen"
    stolen.mkdir()
    server = start(stolen, name="thief")
    server.call()
    server.log.close()
    intact(server.folder)
    known = key_in(tmp_path).key_id
    assert broken(server.folder, keys=(known,)).code is Code.AUDIT_SIGNATURE_INVALID
    assert broken(server.folder, mark_of_none(known)).code is Code.AUDIT_CUT


def mark_of_none(text: str) -> Mark:
    return Mark("ab" * 32, 7, "cd" * 32, text)


@pytest.mark.requires("audit.verify")
def test_a_record_rewritten_with_a_hash_of_its_own_is_found_by_the_next(tmp_path: Path) -> None:
    folder = a_log(tmp_path, 3, settings=Settings())
    (path,) = segments(folder)
    lines, kept = path.read_bytes().splitlines(keepends=True), bodies(folder)
    for place, record in enumerate(kept[:-1]):
        if isinstance(record.body, Head):
            continue
        changed, _ = framed(record.body, Tip(record.sequence - 1, record.previous), record.time_ns + 1)
        path.write_bytes(b"".join([*lines[:place], changed, *lines[place + 1 :]]))
        error = broken(folder)
        assert (error.code, error.facts["line"]) == (Code.AUDIT_SEQUENCE_BROKEN, place + 2)


@pytest.mark.requires("audit.verify")
def test_damage_after_the_last_head_is_found_too(tmp_path: Path) -> None:
    server = start(tmp_path)
    server.call()
    kill(server)
    (path,) = segments(server.folder)
    whole = path.read_bytes()
    begin = whole[:-1].rindex(b"\n") + 1
    for at in range(begin, len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert broken(server.folder).code is Code.AUDIT_RECORD_INVALID


@pytest.mark.requires("audit.verify")
def test_a_did_key_signs_with_that_key(tmp_path: Path) -> None:
    signer = key_in(tmp_path)
    other = key_in(tmp_path, "other")
    identity = Identity(signer, other.did, "test-chain", "1")
    log = open_log(tmp_path / "audit", identity, Settings(), Ticking().clock())
    log.close()
    error = broken(log.folder)
    assert (error.code, error.facts["sequence"]) == (Code.AUDIT_SIGNATURE_INVALID, 1)


@pytest.mark.requires("audit.marks")
def test_an_anchor_of_another_node_says_nothing_of_this_log(tmp_path: Path) -> None:
    folder = a_log(tmp_path)
    mark = mark_of(folder)
    foreign = Mark(mark.log, 3, "cd" * 32, "the ledger", node="did:key:z6MkOther")
    found = check([folder], Trust(marks={mark.log: (foreign, mark)}), lambda _log, _record: None)
    assert found[0].error is None
    own = Mark(mark.log, 3, "cd" * 32, "the ledger", node=key_in(tmp_path).did)
    assert broken(folder, own).code is Code.AUDIT_FORKED


@pytest.mark.requires("audit.verify")
def test_records_that_nobody_signs_are_bounded(tmp_path: Path) -> None:
    folder = a_log(tmp_path, 3, settings=Settings(head_records=4))
    (path,) = segments(folder)
    kept = [record for record in bodies(folder) if not isinstance(record.body, Head) or record.sequence == 3]
    tip, content = Tip(), b""
    for record in [*kept, *kept[3:5] * 5]:
        line, tip = framed(record.body, tip, record.time_ns)
        content += line
    path.write_bytes(content)
    assert broken(folder).code is Code.AUDIT_SIGNATURE_INVALID


@pytest.mark.requires("audit.verify")
@pytest.mark.parametrize(
    ("order", "problem"),
    [
        ([0, 1, 2, 4], "outcome"),
        ([0, 1, 2, 3, 3], "second decision"),
        ([0, 3], "decision"),
        ([0, 1, 2, 3, 0], "segment"),
        ([0, 1, 2, 3, 1], "unfinished"),
    ],
)
def test_what_may_not_follow_is_refused_however_well_it_is_chained(
    tmp_path: Path, order: list[int], problem: str
) -> None:
    folder = a_log(tmp_path, 1, settings=Settings())
    (path,) = segments(folder)
    kept, signer = bodies(folder), key_in(tmp_path)
    tip, content = Tip(), b""
    for place in order:
        body = kept[place].body
        if isinstance(body, Head):
            body = sealed(tip, kept[place].time_ns, signer.sign, closes=False)
        line, tip = framed(body, tip, kept[place].time_ns)
        content += line
    path.write_bytes(content)
    error = broken(folder)
    assert error.code is Code.AUDIT_RECORD_INVALID
    assert problem in error.got


@pytest.mark.requires("audit.verify")
@pytest.mark.parametrize(
    ("verdict", "ended"), [(Verdict.REFUSE, Ended.ANSWERED), (Verdict.ALLOW, Ended.REFUSED)]
)
def test_a_call_ends_as_was_decided(tmp_path: Path, verdict: Verdict, ended: Ended) -> None:
    server = start(tmp_path)
    call = "ab" * 16
    decision = Decision(call, "tool", "x", None, None, Digest(2, "00" * 32), verdict)
    server.log.append([decision, Outcome(call, ended)], sync=False)
    server.log.close()
    error = broken(server.folder)
    assert (error.code, error.facts["sequence"]) == (Code.AUDIT_RECORD_INVALID, 5)


@pytest.mark.requires("audit.verify")
def test_two_logs_of_one_id_are_found(tmp_path: Path) -> None:
    folder = a_log(tmp_path)
    copy = folder.with_name("log-2")
    shutil.copytree(folder, copy)
    found = check([folder, copy], Trust(), lambda _log, _record: None)
    assert found[0].error is None
    assert found[1].error is not None
    assert found[1].error.code is Code.AUDIT_FORKED
    assert found[1].error.facts["other"] == str(folder)


@pytest.mark.requires("audit.marks")
def test_a_log_cut_behind_a_known_head_is_found_and_one_cut_after_it_is_not(tmp_path: Path) -> None:
    folder = a_log(tmp_path, settings=Settings(head_records=5))
    early, late = mark_of(folder, 8), mark_of(folder)
    (path,) = segments(folder)
    whole = path.read_bytes().splitlines(keepends=True)
    for keep in range(1, len(whole)):
        path.write_bytes(b"".join(whole[:keep]))
        error = broken(folder, late)
        assert (error.code, error.facts["sequence"]) == (Code.AUDIT_CUT, keep + 1)
        if keep >= early.count:
            assert intact(folder, early).walk.marks_met == 1
        else:
            assert broken(folder, early).code is Code.AUDIT_CUT
    path.write_bytes(b"".join(whole))
    assert intact(folder, early, late).walk.marks_met == 2


@pytest.mark.requires("audit.marks")
def test_another_history_under_the_same_key_is_found_by_what_others_have(tmp_path: Path) -> None:
    folder = a_log(tmp_path)
    before = mark_of(folder)
    _rewritten(folder, key_in(tmp_path).sign, change=b'"allow"', to=b'"warn"')
    intact(folder)
    error = broken(folder, before)
    assert (error.code, error.facts["sequence"]) == (Code.AUDIT_FORKED, before.count)
    assert broken(folder, mark_of(folder), before).code is Code.AUDIT_FORKED


@pytest.mark.requires("audit.marks")
def test_a_log_that_is_gone_is_missed(tmp_path: Path) -> None:
    folder = a_log(tmp_path)
    other = Mark("ab" * 32, 7, "cd" * 32, "the ledger")
    trust = Trust(marks={other.log: (other,)})
    found = check([folder], trust, lambda _log, _record: None)
    missing = absent(found, trust)
    assert missing is not None
    assert (missing.code, missing.facts["log"]) == (Code.AUDIT_CUT, other.log)


@pytest.mark.requires("audit.marks")
def test_old_files_may_be_moved_away_where_their_head_is_known(tmp_path: Path) -> None:
    folder = a_log(tmp_path)
    files = segments(folder)
    head = mark_of(folder, int(files[1].stem[6:]) - 1)
    files[0].rename(tmp_path / files[0].name)
    assert broken(folder).code is Code.AUDIT_SEQUENCE_BROKEN
    assert "records 1 to" in broken(folder).todo
    intact(folder, head)
    wrong = Mark(head.log, head.count, "cd" * 32, "me")
    assert broken(folder, wrong).code is Code.AUDIT_SEQUENCE_BROKEN


@pytest.mark.requires("audit.verify")
def test_a_line_without_end_takes_no_memory(tmp_path: Path) -> None:
    folder = a_log(tmp_path, 1)
    path = segments(folder)[-1]
    with path.open("ab") as file:
        file.truncate(path.stat().st_size + 64 * 1024 * 1024)
    error = broken(folder)
    assert error.code is Code.AUDIT_RECORD_INVALID
    assert str(limits.LINE_BYTES_MAX) in error.got


@pytest.mark.requires("audit.verify")
@pytest.mark.parametrize("text", ["", "[]", "null", "7", '{"kind":"head"}', '{"kind":[]}', '{"kind":"x"}'])
def test_records_of_another_form_are_refused_with_a_code(text: str) -> None:
    from ledger.types import sha256

    digest = sha256(b"conclave-audit/1\n" + text.encode()).hex()
    line = f'{{"hash":"{digest}","record":{text}}}'.encode()
    assert unframed(line)[0] == text.encode()
    with pytest.raises(VerificationFailed) as refused:
        Walk().step(line)
    assert refused.value.code is Code.AUDIT_RECORD_INVALID


@pytest.mark.requires("audit.verify")
def test_what_is_read_writes_back_the_same(tmp_path: Path) -> None:
    for _, lines in all_lines(a_log(tmp_path)):
        for line in lines:
            content, _ = unframed(line[:-1])
            assert canonical.dump(read_record(content).to_json()) == content


def _rewritten(folder: Path, sign: object, change: bytes = b"", to: bytes = b"") -> None:
    """Write a log anew with another key, or other words: hashes, chain and signatures as they have to be."""
    tip = Tip()
    for path in segments(folder):
        written = b""
        for line in path.read_bytes().splitlines():
            content, _ = unframed(line)
            record = read_record(content.replace(change, to) if change else content)
            body = record.body
            if isinstance(body, Head):
                body = sealed(tip, record.time_ns, sign, closes=body.closes)  # type: ignore[arg-type]
            made, tip = framed(body, tip, record.time_ns)
            written += made
        path.write_bytes(written)
