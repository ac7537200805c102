"""Judging a proof file, offline.

Owns the order: the headers from the root of trust upwards, then the state, then where the envelopes stand
in blocks. Promises that headers, state and operators are judged by the same code as on a live node
(``VerifiedReader`` over the file's answers), that besides every signature in every commit shown must be
right, and that a file with anything its proof does not need is refused. Reads no clock and no disk.
"""

from __future__ import annotations

from dataclasses import dataclass

from consensus.light.predicates import has_a_vote_for_each
from consensus.light.signatures import VerifiedVotes
from consensus.light.types import BlockIdFlag, LightBlock, Trusted
from consensus.proof_file.findings import Finding, Trail, ask
from consensus.proof_file.form import Inclusion, Kind, ProofFile, Question
from consensus.proof_file.recorded import Recorded
from consensus.reader import VerifiedReader, View
from consensus.results import verify_transaction
from consensus.trust_store import MemoryStore, TrustRoot
from ledger import statekeys
from ledger.errors import Code, VerificationFailed


@dataclass(frozen=True, slots=True)
class SignedBy:
    """A believed header and who signed it.

    Attributes:
        height: its height.
        hash: its hash.
        time_ns: its time.
        signers: addresses of the validators that signed, in the set's order.
        signed: their power.
        total: the power of all.
        validators: how many there are.
    """

    height: int
    hash: bytes
    time_ns: int
    signers: tuple[bytes, ...]
    signed: int
    total: int
    validators: int


@dataclass(frozen=True, slots=True)
class Judged:
    """What a file proves.

    Attributes:
        chain_id: the chain.
        question: what was asked.
        finding: the answer.
        root: what it was verified from.
        headers: every header that was verified, heights rising; the last one proves the answer.
        included: heights of envelopes proven to stand in their blocks, by envelope.
        ignored: how many blocks of the file lie below the root and were not looked at.
        now_ns: the present that was assumed.
    """

    chain_id: str
    question: Question
    finding: Finding
    root: TrustRoot
    headers: tuple[SignedBy, ...]
    included: dict[str, int]
    ignored: int
    now_ns: int

    @property
    def state_height(self) -> int:
        """The height whose state was read."""
        return self.headers[-1].height - 1


def judge(file: ProofFile, root: TrustRoot, now_ns: int) -> Judged:
    """Verify ``file`` from ``root``.

    Args:
        file: as read; nothing of it is believed.
        root: what the person trusts.
        now_ns: the present, nanoseconds since the epoch; an earlier one judges as it stood then.

    Raises:
        VerificationFailed: whatever does not verify; PROOF_MISSING where the file does not reach the root;
            PROOF_FILE_INVALID for more than the proof needs.
        Refused: RELEASE_UNKNOWN, REVISION_UNKNOWN, where that is what is proven; HEIGHT_NOT_AVAILABLE.
    """
    _same_chain(file, root)
    is_of_state = file.question.kind is not Kind.HEADERS
    if is_of_state and file.target_height < 2:
        raise VerificationFailed(
            Code.PROOF_FILE_INVALID,
            got=f"header {file.target_height}",
            expected="2 or later, to prove a state",
        )
    source = Recorded(file)
    reader = VerifiedReader(source, MemoryStore(root), clock=lambda: now_ns)
    if file.target_height < root.height:
        source.light_block(root.height)
    headers: dict[int, Trusted] = {}
    shown: list[SignedBy] = []
    for block in file.blocks:
        if block.height >= root.height:
            # Rising, so that each is verified on the ground of the one before it.
            if not headers:
                reader.header(root.height)
            headers[block.height] = reader.header(block.height)
            shown.append(_signed_by(block, headers[block.height]))
    view = reader.at(file.target_height - 1) if is_of_state else None
    finding = Finding() if view is None else ask(view, file.question)
    included = _included(view, file.inclusions, finding.trails, headers)
    _all_asked(file, source)
    ignored = len(file.blocks) - len(shown)
    return Judged(file.chain_id, file.question, finding, root, tuple(shown), included, ignored, now_ns)


def _same_chain(file: ProofFile, root: TrustRoot) -> None:
    if file.chain_id != root.chain_id:
        raise VerificationFailed(
            Code.HEADER_CHAIN_MISMATCH,
            got=f"a proof of {file.chain_id}",
            expected=root.chain_id,
            todo="use the genesis of the ledger that the proof is of",
        )


def _signed_by(block: LightBlock, trusted: Trusted) -> SignedBy:
    """Give who signed a verified header; unlike light verification, every signature there must be right."""
    commit, validators = block.signed_header.commit, block.validators
    has_a_vote_for_each(validators, commit)
    voted = [
        (index, validator)
        for index, validator in enumerate(validators.validators)
        if commit.signatures[index].flag is not BlockIdFlag.ABSENT
    ]
    for index, validator in voted:
        if commit.signatures[index].validator_address != validator.address:
            raise VerificationFailed(
                Code.COMMIT_ADDRESS_MISMATCH,
                got=commit.signatures[index].validator_address,
                expected=validator.address.hex(),
                index=index,
                height=block.height,
            )
    votes = VerifiedVotes(trusted.header.chain_id, commit)
    votes.check([(index, validator, commit.signatures[index]) for index, validator in voted])
    signed = [v for i, v in voted if commit.signatures[i].flag is BlockIdFlag.COMMIT]
    return SignedBy(
        height=block.height,
        hash=trusted.hash,
        time_ns=trusted.header.time_ns,
        signers=tuple(validator.address for validator in signed),
        signed=sum(validator.power for validator in signed),
        total=validators.total_power,
        validators=len(validators.validators),
    )


def _included(
    view: View | None,
    inclusions: tuple[Inclusion, ...],
    trails: tuple[Trail, ...],
    headers: dict[int, Trusted],
) -> dict[str, int]:
    """Check where envelopes stand in blocks; those below the root stay what the ledger's record says."""
    found: dict[str, int] = {}
    heights = {voice.envelope: voice.height for trail in trails for voice in trail.voices}
    for inclusion in inclusions:
        if inclusion.envelope not in heights or inclusion.height != heights[inclusion.envelope]:
            raise VerificationFailed(
                Code.TX_PROOF_INVALID,
                got=f"envelope {inclusion.envelope} in block {inclusion.height}",
                expected="an envelope of the trail, in the block that the ledger's record names",
            )
        header = headers.get(inclusion.height)
        if header is None or view is None:
            continue
        content = view.get(statekeys.envelope(inclusion.envelope)).value or b""
        verify_transaction(content, inclusion.proof, header.header.data_hash)
        found[inclusion.envelope] = inclusion.height
    return found


def _all_asked(file: ProofFile, source: Recorded) -> None:
    """Every answer was needed: a file carries no value that nobody judged. Blocks are all verified anyway."""
    surplus = [answer.key for answer in file.answers if answer.key not in source.asked]
    if surplus:
        raise VerificationFailed(
            Code.PROOF_FILE_INVALID,
            got=f"{len(surplus)} values that the question does not need",
            expected="what the question needs",
            key=statekeys.text(surplus[0]),
        )
