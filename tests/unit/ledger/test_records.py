"""Records and receipts: exact bytes, strict reading."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from ledger import canonical, receipt, records
from ledger.errors import Code, Refused, VerificationFailed, caused
from ledger.limits import JSON_INTEGER_MAX, PROPOSAL_TTL_BLOCKS_MAX
from ledger.receipt import Receipt
from ledger.records import NonceWindow, Parameters
from ledger.roles import ApprovalRule, Identity
from ledger.types import Did, ProposalState, SubjectKind
from tests.support.refusal import refusal_of

ID = "ab" * 32
PROPOSAL = (
    b'{"approvals":[{"envelope":"@","height":4,"signer":"did:key:z"}],"change":{"against":2,"clusters":["east"],'
    b'"kind":"release","release":"web","toRevision":null},"digest":"@","expires":53,"finalHeight":null,'
    b'"height":3,"id":"@","number":1,"proposer":"did:key:y","rejections":[],"revision":null,'
    b'"rule":"default","state":"open"}'
).replace(b"@", ID.encode())
REVISION = (
    b'{"authority":"@","clusters":["east"],"content":"@","digest":"@","height":9,"release":"web",'
    b'"revision":2,"rollbackOf":1}'
).replace(b"@", ID.encode())
REPORT = (
    b'{"cluster":"east","health":"current","height":7,"objects":[],"outcome":"applied","release":"web",'
    b'"reporter":"did:key:n","revision":1,"sequence":5}'
)
GOLDEN: list[tuple[Callable[[bytes], Any], bytes]] = [
    (records.read_parameters, b'{"imageDigestRequired":true,"proposalTtlBlocks":50}'),
    (records.read_nonces, b'{"highest":70,"seen":"8000000000000001"}'),
    (
        records.read_identity,
        b'{"cluster":null,"did":"did:key:z","kind":"human","name":"alice","organisation":"a"}',
    ),
    (
        records.read_identity,
        b'{"cluster":"east","did":"did:key:z","kind":"node","name":"n","organisation":"Org A"}',
    ),
    (records.read_rule, b'{"humans":2,"name":"default","organisations":2}'),
    (records.read_proposal, PROPOSAL),
    (records.read_release, b'{"clusters":["east","west"],"name":"web","revision":2}'),
    (records.read_revision, REVISION),
    (records.read_report, REPORT),
]


@pytest.mark.requires("ledger.record-round-trip")
@pytest.mark.parametrize(("read", "content"), GOLDEN, ids=lambda v: getattr(v, "__name__", ""))
def test_each_record_reads_and_writes_the_bytes_of_the_specification(
    read: Callable[[bytes], Any], content: bytes
) -> None:
    assert records.write(read(content)) == content


@pytest.mark.requires("ledger.record-round-trip")
def test_small_records() -> None:
    assert records.write_names(("a", "b")) == b'{"names":["a","b"]}'
    assert records.write_names(("did:x",), field="dids") == b'{"dids":["did:x"]}'
    assert records.read_names(b'{"dids":["did:x"]}', field="dids") == ("did:x",)
    assert records.read_names(None) == ()
    assert records.write_count(3) == b'{"count":3}'
    assert (records.read_count(b'{"count":3}'), records.read_count(None)) == (3, 0)
    assert records.read_number(records.write_number(ID)) == ID
    assert records.write_ledger("c") == b'{"chainId":"c"}'
    assert records.read_ledger(b'{"chainId":"c"}') == "c"
    assert records.read_nonces(None) == NonceWindow(0, 0)


@pytest.mark.requires("ledger.record-round-trip")
def test_typed_values_come_back() -> None:
    identity = Identity(Did("did:key:z"), "alice", SubjectKind.HUMAN, "a")
    assert records.read_identity(records.write(identity)) == identity
    rule = ApprovalRule("default", 2, 1)
    assert records.read_rule(records.write(rule)) == rule
    assert records.read_proposal(PROPOSAL).state is ProposalState.OPEN
    parameters = Parameters(imageDigestRequired=False, proposalTtlBlocks=PROPOSAL_TTL_BLOCKS_MAX)
    assert records.read_parameters(records.write(parameters)) == parameters


@pytest.mark.requires("ledger.record-strict")
@pytest.mark.parametrize(("read", "content"), GOLDEN, ids=lambda v: getattr(v, "__name__", ""))
def test_a_record_with_a_field_more_or_less_or_of_another_type_is_refused(
    read: Callable[[bytes], Any], content: bytes
) -> None:
    value = canonical.load(content)
    refusal_of(lambda: read(canonical.dump(value | {"extra": 1})), Code.FIELD_UNKNOWN)
    for name in value:
        without = {k: v for k, v in value.items() if k != name}
        refusal_of(lambda without=without: read(canonical.dump(without)), Code.FIELD_MISSING)  # type: ignore[misc]
        with pytest.raises(Refused):
            read(canonical.dump(value | {name: 1.5}))
        with pytest.raises(Refused):
            read(canonical.dump(value | {name: {}}))


@pytest.mark.requires("ledger.record-strict")
@pytest.mark.parametrize(
    ("read", "content"),
    [
        (records.read_parameters, b'{"imageDigestRequired":true,"proposalTtlBlocks":0}'),
        (records.read_parameters, b'{"imageDigestRequired":true,"proposalTtlBlocks":100001}'),
        (records.read_parameters, b'{"imageDigestRequired":1,"proposalTtlBlocks":5}'),
        (records.read_nonces, b'{"highest":1,"seen":"1"}'),
        (records.read_nonces, b'{"highest":1,"seen":"000000000000000G"}'),
        (records.read_rule, b'{"humans":0,"name":"default","organisations":1}'),
        (records.read_rule, b'{"humans":65,"name":"default","organisations":1}'),
        (records.read_rule, b'{"humans":1,"name":"default","organisations":65}'),
        (records.read_release, b'{"clusters":["b","a"],"name":"web","revision":1}'),
        (records.read_proposal, PROPOSAL.replace(b'"open"', b'"half"')),
        (records.read_proposal, PROPOSAL.replace(b'"kind":"release"', b'"kind":"delete"')),
        (records.read_ledger, b'{"chainId":""}'),
    ],
)
def test_values_out_of_bounds_are_refused(read: Callable[[bytes], Any], content: bytes) -> None:
    refusal_of(lambda: read(content), Code.FIELD_INVALID)


@pytest.mark.requires("ledger.record-strict")
def test_an_error_caused_by_another_keeps_what_it_said() -> None:
    refusal = refusal_of(lambda: records.read_release(b"[]"), Code.FIELD_INVALID)
    told = caused(VerificationFailed, Code.LEDGER_RECORD_INVALID, refusal, key="release/web")
    assert (told.code, told.got, told.expected) == (Code.LEDGER_RECORD_INVALID, refusal.got, refusal.expected)
    assert told.facts == {"key": "release/web", "cause": "FIELD_INVALID"}


RECEIPT = b'{"envelope":"@","height":3,"number":1,"proposal":"@","revision":2,"state":"final"}'.replace(
    b"@", ID.encode()
)


@pytest.mark.requires("ledger.receipt-round-trip")
def test_receipts_have_the_bytes_of_the_specification() -> None:
    whole = Receipt(ID, 3, ID, 1, ProposalState.FINAL, 2)
    assert whole.to_bytes() == RECEIPT
    assert receipt.from_bytes(RECEIPT) == whole
    bare = Receipt(ID, 3)
    assert bare.to_bytes().count(b"null") == 4
    assert receipt.from_bytes(bare.to_bytes()) == bare


@pytest.mark.requires("ledger.receipt-round-trip")
@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", Code.BODY_NOT_JSON),
        (b"[]", Code.FIELD_INVALID),
        (b"{}", Code.FIELD_MISSING),
        (RECEIPT + b" ", Code.BODY_NOT_CANONICAL),
        (RECEIPT.replace(b'"final"', b'"done"'), Code.FIELD_INVALID),
        (RECEIPT.replace(b'"number":1', b'"number":0'), Code.FIELD_INVALID),
        (RECEIPT.replace(b'"height":3', b'"height":-3'), Code.FIELD_INVALID),
        (RECEIPT.replace(b'"state"', b'"stat"'), Code.FIELD_MISSING),
        (b'"' + b"a" * 5000 + b'"', Code.BODY_TOO_LARGE),
    ],
)
def test_bytes_that_are_no_receipt_are_refused(content: bytes, code: Code) -> None:
    refusal_of(lambda: receipt.from_bytes(content), code)


@pytest.mark.requires("ledger.receipt-round-trip")
def test_codes_of_a_newer_version_are_not_guessed() -> None:
    assert receipt.code_of(206) is Code.NONCE_REPLAYED
    assert receipt.code_of(0) is Code.OK
    assert receipt.code_of(299) is None


@pytest.mark.requires("ledger.expired-by-height")
def test_an_open_proposal_is_expired_after_its_last_height_and_no_other_ever_is() -> None:
    record = records.read_proposal(PROPOSAL)
    for state in ProposalState:
        stands = dataclasses.replace(record, state=state)
        assert records.state_at(stands, record.expires) is state
        after = ProposalState.EXPIRED if state is ProposalState.OPEN else state
        assert records.state_at(stands, record.expires + 1) is after


@pytest.mark.requires("ledger.nonce-window-bytes")
@pytest.mark.parametrize("highest", [0, 1, 70, 10**15 - 1, 10**15, JSON_INTEGER_MAX])
def test_a_nonce_window_is_canonical_and_read_alike_by_either_way(highest: int) -> None:
    for seen in (0, 1, 2**64 - 1):
        content = records.write(NonceWindow(highest, seen))
        assert content == canonical.dump({"highest": highest, "seen": f"{seen:016x}"})
        spaced = content.replace(b":", b" :")
        assert records.read_nonces(content) == records.read_nonces(spaced) == NonceWindow(highest, seen)


@pytest.mark.requires("ledger.nonce-window-bytes")
@pytest.mark.parametrize(
    "content",
    [
        b'{"highest":01,"seen":"0000000000000001"}',
        b'{"highest":-1,"seen":"0000000000000001"}',
        b'{"highest":9007199254740992,"seen":"0000000000000001"}',
        b'{"highest":1,"seen":"000000000000000A"}',
        b'{"highest":1,"seen":"1"}',
        b'{"highest":1,"seen":"0000000000000001","more":1}',
    ],
)
def test_a_broken_nonce_window_is_refused(content: bytes) -> None:
    with pytest.raises(Refused):
        records.read_nonces(content)
