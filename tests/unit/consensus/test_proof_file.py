"""Proof files: what a ledger in memory says, written, read back and judged from several roots."""

from __future__ import annotations

import dataclasses

import pytest

from consensus.light.types import SECOND_NS
from consensus.proof_file.export import export
from consensus.proof_file.findings import ask
from consensus.proof_file.form import Kind, ProofFile, Question, decode, encode
from consensus.proof_file.judge import judge
from consensus.proof_file.recorded import Recording
from consensus.reader import VerifiedReader
from consensus.trust_store import MemoryStore, TrustRoot
from ledger import canonical, records, statekeys
from ledger.errors import Code, EnvironmentFault, VerificationFailed
from tests.support.chain import Chain, signers
from tests.support.ledger import ALICE, BOB, CAROL, Ledger, Node
from tests.support.proof_files import a_ledger, exported, questions, verdict
from tests.unit.consensus.ledgers import code_of, root_of

LEDGER = a_ledger()
PROPOSAL = records.read_number(LEDGER.values[LEDGER.height][statekeys.proposal_number(1)])
QUESTIONS = questions(PROPOSAL)
DAY_NS = 24 * 3600 * SECOND_NS


def _header(ledger: Ledger, height: int) -> TrustRoot:
    return TrustRoot.at(ledger.chain.chain_id, height, ledger.chain.trusted(height).hash)


@pytest.mark.requires("proof-file.round-trip")
@pytest.mark.parametrize("sort", QUESTIONS)
def test_a_file_answers_what_a_live_reader_answers(sort: str) -> None:
    question = QUESTIONS[sort]
    reader = VerifiedReader(Node(LEDGER), MemoryStore(root_of(LEDGER)), clock=lambda: LEDGER.chain.now_ns)
    live = ask(reader.at(), question)
    content = exported(LEDGER, question).content
    assert encode(decode(content)) == content
    for root in (root_of(LEDGER), _header(LEDGER, 1), _header(LEDGER, LEDGER.height)):
        judged = judge(decode(content), root, LEDGER.chain.now_ns)
        assert judged.finding == live
        assert judged.headers[-1].hash == LEDGER.chain.trusted(LEDGER.height).hash


@pytest.mark.requires("proof-file.trail")
def test_the_trail_names_people_keys_heights_and_power() -> None:
    judged = verdict(LEDGER, exported(LEDGER, Question(Kind.RELEASE, "guestbook", 3)).content)
    content, authority = judged.finding.trails
    said = [(v.act, v.who.name, v.keys, v.height, v.counted) for v in authority.voices]
    assert said == [
        ("proposed", "bob", (BOB.key_id,), 8, True),
        ("approved", "alice", (ALICE.key_id,), 9, True),
        ("approved", "carol", (CAROL.key_id,), 10, True),
    ]
    assert (content.final_height, authority.final_height) == (4, 10)
    final = next(header for header in judged.headers if header.height == authority.final_height)
    assert (final.signed, final.total, len(final.signers)) == (40, 40, 4)
    every = {voice.envelope: voice.height for trail in (content, authority) for voice in trail.voices}
    assert judged.included == every


@pytest.mark.requires("proof-file.trail")
def test_power_counts_only_those_who_signed() -> None:
    members = signers("v1", "v2", "v3", "v4")
    ledger = Ledger(Chain(members))
    ledger.commit()
    ledger.commit()
    ledger.chain.append(app_hash=ledger.trees[2].root, absent=members[:1])
    ledger.edit(3, {}, 2)
    judged = verdict(ledger, exported(ledger, QUESTIONS["key"]).content)
    assert (judged.headers[-1].signed, judged.headers[-1].total) == (30, 40)
    assert members[0].address not in judged.headers[-1].signers


@pytest.mark.requires("proof-file.trail")
def test_what_the_node_has_pruned_is_said_by_the_record_alone() -> None:
    class Pruned(Node):
        def block_txs(self, height: int) -> tuple[bytes, ...]:
            raise EnvironmentFault(Code.RPC_REFUSED, got=height)

    node, chain = Pruned(LEDGER), LEDGER.chain
    question = QUESTIONS["release"]
    done = export(node, root_of(LEDGER), question, LEDGER.height, chain.now_ns)
    assert done.judged.included == {}
    assert done.judged.finding == verdict(LEDGER, exported(LEDGER, question).content).finding
    late = export(node, _header(LEDGER, LEDGER.height), question, LEDGER.height, chain.now_ns)
    assert [header.height for header in late.judged.headers] == [LEDGER.height]


@pytest.mark.requires("proof-file.round-trip")
def test_a_changed_validator_set_is_walked_through() -> None:
    old, new = signers("v1", "v2", "v3", "v4"), signers("w1", "w2", "w3", "w4")
    ledger = Ledger(Chain(old))
    for following in (None, (*old[2:], *new[:2]), new, None, None):
        ledger.chain.append(app_hash=ledger.trees[ledger.height].root, following=following)
        ledger.edit(ledger.height, {}, ledger.height - 1)
    done = exported(ledger, QUESTIONS["key"])
    assert len(done.judged.headers) > 2
    assert verdict(ledger, done.content) == done.judged
    file = decode(done.content)
    without = dataclasses.replace(file, blocks=(file.blocks[0], file.blocks[-1]))
    with pytest.raises(VerificationFailed) as refused:
        verdict(ledger, encode(without))
    assert code_of(refused) is Code.PROOF_MISSING


@pytest.mark.requires("proof-file.root")
def test_the_root_is_the_readers_own() -> None:
    file = decode(exported(LEDGER, QUESTIONS["key"]).content)
    now_ns, chain_id = LEDGER.chain.now_ns, LEDGER.chain.chain_id
    stranger = Ledger(Chain(signers("x1", "x2", "x3", "x4")))
    roots = {
        Code.TRUST_ROOT_MISMATCH: [TrustRoot.at(chain_id, 1, b"\x01" * 32), root_of(stranger)],
        Code.PROOF_MISSING: [_header(LEDGER, 2), TrustRoot.at(chain_id, 99, b"\x01" * 32)],
        Code.HEADER_CHAIN_MISMATCH: [TrustRoot.at("other", 1, b"\x01" * 32)],
    }
    for code, named in roots.items():
        for root in named:
            with pytest.raises(VerificationFailed) as refused:
                judge(file, root, now_ns)
            assert code_of(refused) is code


@pytest.mark.requires("proof-file.as-of")
def test_a_file_is_judged_as_of_the_time_named() -> None:
    file = decode(exported(LEDGER, QUESTIONS["release"]).content)
    newest_ns = file.blocks[-1].header.time_ns
    assert judge(file, root_of(LEDGER), newest_ns + 13 * DAY_NS).now_ns == newest_ns + 13 * DAY_NS
    for now_ns, code in (
        (newest_ns + 15 * DAY_NS, Code.TRUST_EXPIRED),
        (newest_ns - DAY_NS, Code.HEADER_FROM_FUTURE),
    ):
        with pytest.raises(VerificationFailed) as refused:
            judge(file, root_of(LEDGER), now_ns)
        assert code_of(refused) is code


@pytest.mark.requires("proof-file.one-code")
@pytest.mark.parametrize("lie", ["unsigned", "unapproved", "other content"])
def test_a_quorums_lie_is_refused_in_a_file_too(lie: str) -> None:
    """Validators may write any state and sign it; the operators' signatures are judged again."""
    ledger = Ledger()
    ledger.commit()
    identifier = ledger.release()
    ledger.commit()
    honest = ledger.values[ledger.height]
    record = records.read_proposal(honest[statekeys.proposal(identifier)])
    key = statekeys.envelope(record.approvals[0].envelope)
    proposal = canonical.load(honest[statekeys.proposal(identifier)])
    forged = {
        "unsigned": {key: honest[key][:-1] + bytes([honest[key][-1] ^ 1])},
        "unapproved": {
            statekeys.proposal(identifier): canonical.dump(
                proposal | {"approvals": proposal["approvals"][:1]}
            )
        },
        "other content": {statekeys.envelope(identifier): honest[key]},
    }[lie]
    ledger.edit(ledger.height, dict(forged))
    ledger.commit()
    source, question = Recording(Node(ledger)), Question(Kind.RELEASE, "guestbook", 1)
    reader = VerifiedReader(source, MemoryStore(root_of(ledger)), clock=lambda: ledger.chain.now_ns)
    with pytest.raises(VerificationFailed) as live:
        ask(reader.at(), question)
    answers = tuple(answer for _, answer in sorted(source.answers.items()))
    blocks = tuple(block for _, block in sorted(source.blocks.items()))
    with pytest.raises(VerificationFailed) as offline:
        verdict(ledger, encode(ProofFile(ledger.chain.chain_id, question, blocks, answers)))
    assert code_of(offline) is code_of(live)
    assert (offline.value.got, offline.value.expected) == (live.value.got, live.value.expected)
