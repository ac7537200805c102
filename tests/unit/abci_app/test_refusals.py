"""Everything the ledger refuses, by code, and that a refused envelope leaves no trace but its nonce."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from abci_app import indexes
from ledger import bodies, envelope, records, statekeys
from ledger.envelope import Signature
from ledger.errors import Code
from ledger.limits import NONCE_MAX, RELEASES_PER_CLUSTER_MAX
from ledger.types import ActionKind
from state.reader import Overlay
from tests.support.memory_state import MemoryState
from tests.support.subjects import (
    AGENT,
    ALICE,
    BOB,
    CAROL,
    CHAIN_ID,
    DIGEST,
    NODE,
    NOT_AFTER,
    ORGANISATION,
    OTHER_NODE,
    STRANGER,
    Pen,
    Subject,
    configmap,
    identifier,
    judgement_body,
    release,
    report_of,
    requirement,
    seal,
)

PEN = Pen()
PROPOSAL = PEN.propose(ALICE)
FINAL = PEN.propose(ALICE, release("done"))
HEIGHT = 2
"""Of the block under test; ``BEFORE`` is applied at 1."""
BEFORE = [PROPOSAL, PEN.approve(ALICE, PROPOSAL), FINAL, PEN.approve(BOB, FINAL), PEN.approve(CAROL, FINAL)]
NONCE = 1000
"""Unused by everybody."""


def forged() -> bytes:
    opened = envelope.decode(seal(CAROL, judgement_body(PROPOSAL), NONCE))
    bad = Signature(CAROL.key_id, BOB.sign(envelope.sign_bytes_of(opened)))
    return envelope.encode(dataclasses.replace(opened, signatures=(bad,)))


def signed_by_another() -> bytes:
    opened = envelope.decode(seal(CAROL, judgement_body(PROPOSAL), NONCE))
    other = Signature(BOB.key_id, BOB.sign(envelope.sign_bytes_of(opened)))
    return envelope.encode(dataclasses.replace(opened, signatures=(other,)))


def of_changed_body() -> bytes:
    body = bodies.judgement_body(ActionKind.APPROVAL, identifier(PROPOSAL), "00" * 32, requirement())
    return seal(CAROL, body, NONCE)


def of_unknown() -> bytes:
    return seal(CAROL, bodies.judgement_body(ActionKind.APPROVAL, "00" * 32, DIGEST, DIGEST), NONCE)


def secret() -> bytes:
    item = configmap("s") | {"kind": "Secret", "data": {"a": "YQ=="}}
    return seal(ALICE, bodies.release_body(release(manifests=[item])), NONCE)


def unpinned() -> bytes:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    pod |= {"spec": {"containers": [{"image": "nginx"}]}}
    return seal(ALICE, bodies.release_body(release(manifests=[pod])), NONCE)


def said(
    subject: Subject, body: bytes, *, not_after: int = NOT_AFTER, chain_id: str = CHAIN_ID
) -> Callable[[], bytes]:
    return lambda: seal(subject, body, NONCE, not_after=not_after, chain_id=chain_id)


APPROVE = judgement_body(PROPOSAL)
REJECT = judgement_body(PROPOSAL, ActionKind.REJECTION)
RELEASE = bodies.release_body(release())
REPORT = bodies.report_body(report_of("done"))
NOT_OPENED: list[tuple[str, Callable[[], bytes], Code]] = [
    ("garbage", lambda: b"garbage", Code.ENVELOPE_UNREADABLE),
    ("nothing", lambda: b"", Code.FIELD_MISSING),
    ("bad signature", forged, Code.SIGNATURE_INVALID),
    ("another's signature", signed_by_another, Code.KEY_NOT_OF_SIGNER),
    ("wrong chain", said(CAROL, APPROVE, chain_id="other-chain"), Code.CHAIN_ID_MISMATCH),
    ("body not canonical", said(CAROL, APPROVE + b" "), Code.BODY_NOT_CANONICAL),
    ("body unknown", said(CAROL, b'{"kind":"Vote"}'), Code.ACTION_UNKNOWN),
    ("secret", secret, Code.SECRET_WITH_DATA),
    ("unpinned image", unpinned, Code.IMAGE_NOT_PINNED),
]
NOT_ADMITTED: list[tuple[str, Callable[[], bytes], Code]] = [
    ("expired height", said(CAROL, APPROVE, not_after=HEIGHT - 1), Code.ENVELOPE_EXPIRED),
    ("valid too long", said(CAROL, APPROVE, not_after=HEIGHT + 100_001), Code.NOT_AFTER_TOO_FAR),
    ("stranger", said(STRANGER, APPROVE), Code.SIGNER_UNKNOWN),
    ("replayed envelope", lambda: PROPOSAL, Code.NONCE_REPLAYED),
    ("replayed approval", lambda: BEFORE[1], Code.NONCE_REPLAYED),
    ("used nonce", lambda: seal(ALICE, RELEASE, 1), Code.NONCE_REPLAYED),
    ("nonce far ahead", lambda: seal(CAROL, APPROVE, NONCE_MAX), Code.NONCE_TOO_FAR),
    ("agent approving", said(AGENT, APPROVE), Code.AGENT_MAY_NOT_APPROVE),
    ("agent rejecting", said(AGENT, REJECT), Code.AGENT_MAY_NOT_APPROVE),
    ("agent reporting", said(AGENT, REPORT), Code.VERB_NOT_ALLOWED),
    ("node approving", said(NODE, APPROVE), Code.VERB_NOT_ALLOWED),
    ("node proposing", said(NODE, RELEASE), Code.VERB_NOT_ALLOWED),
    ("human reporting", said(ALICE, REPORT), Code.VERB_NOT_ALLOWED),
    ("organisation proposing", said(ORGANISATION, RELEASE), Code.VERB_NOT_ALLOWED),
]
NOT_EXECUTED: list[tuple[str, Callable[[], bytes], Code]] = [
    ("approval of a changed body", of_changed_body, Code.APPROVAL_DIGEST_MISMATCH),
    ("approval of nothing", of_unknown, Code.PROPOSAL_UNKNOWN),
    ("second approval", said(ALICE, APPROVE), Code.APPROVAL_DUPLICATE),
    ("approval of the final", said(ALICE, judgement_body(FINAL)), Code.PROPOSAL_NOT_OPEN),
    (
        "unknown cluster",
        said(ALICE, bodies.release_body(release(clusters=("mars",)))),
        Code.CLUSTER_UNKNOWN,
    ),
    ("rollback of nothing", said(ALICE, bodies.rollback_body("none", 1)), Code.RELEASE_UNKNOWN),
    ("rollback to the future", said(ALICE, bodies.rollback_body("done", 2)), Code.REVISION_UNKNOWN),
    ("another's cluster", said(OTHER_NODE, REPORT), Code.REPORTER_NOT_OF_CLUSTER),
    ("report on nothing", said(NODE, bodies.report_body(report_of("none"))), Code.RELEASE_UNKNOWN),
    ("report on what is not final", said(NODE, bodies.report_body(report_of("web"))), Code.RELEASE_UNKNOWN),
    ("report on the future", said(NODE, bodies.report_body(report_of("done", 2))), Code.REVISION_UNKNOWN),
]


def ledger() -> MemoryState:
    state = MemoryState()
    assert {result.code for result in state.apply(BEFORE)} == {Code.OK}
    return state


@pytest.mark.requires("abci.refusals")
@pytest.mark.parametrize(
    ("make", "code"),
    [c[1:] for c in NOT_OPENED + NOT_ADMITTED],
    ids=[c[0] for c in NOT_OPENED + NOT_ADMITTED],
)
def test_what_is_not_admitted_changes_nothing(make: Callable[[], bytes], code: Code) -> None:
    state = ledger()
    before = dict(state.content)
    (result,) = state.apply([make()])
    assert (result.code, result.data) == (code, b"")
    assert result.refusal is not None
    assert result.refusal.expected
    assert state.content == before


@pytest.mark.requires("abci.refused-burns-nonce")
@pytest.mark.parametrize(("make", "code"), [c[1:] for c in NOT_EXECUTED], ids=[c[0] for c in NOT_EXECUTED])
def test_what_is_refused_when_executed_burns_its_nonce_and_nothing_else(
    make: Callable[[], bytes], code: Code
) -> None:
    state = ledger()
    before = dict(state.content)
    tx = make()
    first, again = state.apply([tx, tx])
    assert (first.code, first.data) == (code, b"")
    assert again.code is Code.NONCE_REPLAYED
    changed = {key for key in state.content if state.content[key] != before.get(key)}
    assert changed == {statekeys.account(envelope.decode(tx).signer)}
    assert before.keys() - state.content.keys() == set()


@pytest.mark.requires("abci.refusals")
def test_a_bad_transaction_does_not_touch_its_neighbours() -> None:
    state, plain = ledger(), ledger()
    good = seal(CAROL, APPROVE, NONCE)
    bad = [make() for _, make, _ in NOT_OPENED + NOT_ADMITTED]
    results = state.apply([*bad, good, *bad])
    assert [result.code for result in results].count(Code.OK) == 1
    assert results[len(bad)].code is Code.OK
    plain.apply([good])
    assert state.content == plain.content


@pytest.mark.requires("abci.refusals")
def test_without_a_rule_nothing_is_possible() -> None:
    state = ledger()
    bare = records.read_constitution(state.content[statekeys.CONSTITUTION])
    without = dataclasses.replace(bare, rules=(), digest="00" * 32)
    state.content[statekeys.CONSTITUTION] = records.write(without)
    results = state.apply([seal(ALICE, RELEASE, NONCE), seal(CAROL, APPROVE, NONCE)])
    assert [result.code for result in results] == [Code.NO_RULE_MATCHES] * 2


@pytest.mark.requires("abci.refusals")
def test_the_releases_of_a_cluster_are_bounded() -> None:
    state = ledger()
    full = tuple(f"r{number:04d}" for number in range(RELEASES_PER_CLUSTER_MAX))
    overlay = Overlay(state)
    for name in full:
        indexes.insert(overlay, statekeys.cluster_releases("east"), name)
    state.content |= {key: value for key, value in overlay.changes().items() if value is not None}
    before = state.content[statekeys.proposal(identifier(PROPOSAL))]
    (result,) = state.apply([seal(CAROL, APPROVE, NONCE)])
    assert result.code is Code.LIMIT_EXCEEDED
    assert state.content[statekeys.proposal(identifier(PROPOSAL))] == before
    assert state.get(statekeys.release("web")) is None
