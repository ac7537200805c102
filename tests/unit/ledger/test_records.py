"""Records and receipts: exact bytes, strict reading."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from ledger import canonical, receipt, records
from ledger.errors import Code, Refused, VerificationFailed, caused
from ledger.limits import PROPOSAL_TTL_BLOCKS_MAX
from ledger.receipt import Receipt
from ledger.records import Parameters
from ledger.types import ProposalState
from tests.support.refusal import refusal_of

ID = "ab" * 32


def fails(read: Callable[[bytes], Any], value: Any) -> bool:
    """Tell whether ``value`` is refused."""
    try:
        read(canonical.dump(value))
    except Refused:
        return True
    return False


PROPOSAL = (
    b'{"approvals":[{"envelope":"@","height":4,"keys":["z"],"requirement":"@","signer":"did:key:z"}],'
    b'"approvedTime":null,"breakGlass":null,"change":{"against":2,"clusters":["east"],"objects":[],'
    b'"operation":"apply","prune":false,"release":"web","toRevision":null},"code":null,"constitution":null,'
    b'"digest":"@","expires":53,"finalHeight":null,"height":3,"id":"@","number":1,"proposer":"did:key:y",'
    b'"rejections":[],"requirement":"@","revision":null,"state":"open"}'
).replace(b"@", ID.encode())
REVISION = (
    b'{"authority":"@","cause":null,"clusters":["east"],"content":"@","digest":"@","height":9,"release":"web",'
    b'"revision":2,"rollbackOf":1,"time":80}'
).replace(b"@", ID.encode())
REPORT = (
    b'{"cluster":"east","health":"current","height":7,"metrics":[{"name":"cpu","object":"o","replicas":2,'
    b'"value":5}],"objects":[],"outcome":"applied","release":"web","reporter":"did:key:n","revision":1,'
    b'"sequence":5,"time":70}'
)
PARAMETERS = (
    b'{"envelopesPerWindowMax":1000,"imageDigestRequired":true,"openProposalsMax":64,"proposalTtlBlocks":50,'
    b'"rollbackWindowSeconds":3600,"rollbacksPerWindowMax":3}'
)
RELEASE = (
    b'{"clusters":["east","west"],"healthy":1,"name":"web","namespace":"demo","revision":2,"rollbacks":[5],'
    b'"state":"active"}'
)
CONTENT = (
    b'{"host":false,"namespace":"demo","release":"web","spec":{"clusters":["east"]},"touches":[{"kind":'
    b'"ConfigMap","name":"settings","namespace":"demo"}]}'
)
INCIDENT = (
    b'{"cluster":"east","height":9,"kind":"rollback","newRevision":3,"number":1,"reason":"late",'
    b'"release":"web","revision":2,"subject":null,"time":80}'
)
FREEZES = (
    b'{"freezes":[{"by":"did:key:z","clusters":["*"],"height":9,"name":"stop","namespaces":["*"],'
    b'"reason":"fire","releases":["web"],"time":80}]}'
)
CONSTITUTION = (
    b'{"authority":null,"bindings":[{"name":"a","subject":"did:key:z","version":1}],"breakGlasses":[],'
    b'"digest":"@","height":0,"roles":[{"name":"r","subject":null,"version":2}],"rules":[],"version":1}'
).replace(b"@", ID.encode())
VALIDATORS = (
    b'{"stepChanged":0,"stepHeight":0,"stepTotal":0,"validators":[{"keyId":"z","name":"node0","node":null,'
    b'"power":10}]}'
)
GOLDEN: list[tuple[Callable[[bytes], Any], bytes]] = [
    (records.read_parameters, PARAMETERS),
    (records.read_proposal, PROPOSAL),
    (records.read_content, CONTENT),
    (
        records.read_release,
        RELEASE,
    ),
    (records.read_revision, REVISION),
    (
        records.read_desired,
        b'{"cluster":"east","prune":false,"release":"web","revision":2,"state":"present","time":80}',
    ),
    (records.read_report, REPORT),
    (records.read_incident, INCIDENT),
    (records.read_freezes, FREEZES),
    (records.read_constitution, CONSTITUTION),
    (records.read_validators, VALIDATORS),
    (records.read_protocol, b'{"nextHeight":90,"nextVersion":2,"version":1}'),
]
MAY_BE_MISSING = {
    name
    for read, content in GOLDEN
    for name in canonical.load(content)
    if not fails(read, {k: v for k, v in canonical.load(content).items() if k != name})
}


@pytest.mark.requires("ledger.record-round-trip")
@pytest.mark.parametrize(("read", "content"), GOLDEN, ids=lambda v: getattr(v, "__name__", ""))
def test_each_record_reads_and_writes_the_bytes_of_the_specification(
    read: Callable[[bytes], Any], content: bytes
) -> None:
    assert records.write(read(content)) == content


@pytest.mark.requires("ledger.record-round-trip")
def test_small_records() -> None:
    assert records.write_count(3) == b'{"count":3}'
    assert (records.read_count(b'{"count":3}'), records.read_count(None)) == (3, 0)
    assert records.read_number(records.write_number(ID)) == ID
    assert records.write_ledger("c") == b'{"chainId":"c"}'
    assert records.read_ledger(b'{"chainId":"c"}') == "c"
    assert records.read_did(records.write_did("did:key:z")) == "did:key:z"


@pytest.mark.requires("ledger.record-round-trip")
def test_typed_values_come_back() -> None:
    assert records.read_proposal(PROPOSAL).state is ProposalState.OPEN
    parameters = Parameters(image_digest_required=False, proposal_ttl_blocks=PROPOSAL_TTL_BLOCKS_MAX)
    assert records.read_parameters(records.write(parameters)) == parameters
    written = {"imageDigestRequired": False, "proposalTtlBlocks": PROPOSAL_TTL_BLOCKS_MAX}
    assert records.read_parameters_object(written, "spec") == parameters


@pytest.mark.requires("ledger.record-round-trip")
def test_only_fields_with_a_default_may_be_missing() -> None:
    assert "imageDigestRequired" not in MAY_BE_MISSING
    assert {"openProposalsMax", "code", "approvals"} <= MAY_BE_MISSING


@pytest.mark.requires("ledger.record-strict")
@pytest.mark.parametrize(("read", "content"), GOLDEN, ids=lambda v: getattr(v, "__name__", ""))
def test_a_record_with_a_field_more_or_less_or_of_another_type_is_refused(
    read: Callable[[bytes], Any], content: bytes
) -> None:
    value = canonical.load(content)
    refusal_of(lambda: read(canonical.dump(value | {"extra": 1})), Code.FIELD_UNKNOWN)
    for name in value:
        without = {k: v for k, v in value.items() if k != name}
        if name not in MAY_BE_MISSING:
            refusal_of(lambda without=without: read(canonical.dump(without)), Code.FIELD_MISSING)  # type: ignore[misc]
        with pytest.raises(Refused):
            read(canonical.dump(value | {name: 1.5}))
        if name != "spec":
            with pytest.raises(Refused):
                read(canonical.dump(value | {name: {}}))


@pytest.mark.requires("ledger.record-strict")
@pytest.mark.parametrize(
    ("read", "content"),
    [
        (records.read_parameters, b'{"imageDigestRequired":true,"proposalTtlBlocks":4}'),
        (records.read_parameters, b'{"imageDigestRequired":true,"proposalTtlBlocks":100001}'),
        (records.read_parameters, b'{"imageDigestRequired":1,"proposalTtlBlocks":5}'),
        (records.read_parameters, PARAMETERS.replace(b":64", b":0")),
        (records.read_parameters, PARAMETERS.replace(b":64", b":257")),
        (records.read_revision, REVISION.replace(b'"revision":2', b'"revision":0')),
        (records.read_incident, INCIDENT.replace(b'"rollback"', b'"fire"')),
        (records.read_proposal, PROPOSAL.replace(b'"open"', b'"half"')),
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
