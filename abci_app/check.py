"""From bytes to an envelope that may act: the same road for CheckTx, proposals and blocks.

Owns the order of the admission rules: cheap first, attacker-sized work last. What ``open_envelope`` gives
depends on the bytes and the ledger's constants alone, so it may be remembered by transaction hash.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from abci_app import rules
from ledger import envelope as envelopes
from ledger import records, statekeys
from ledger.envelope import Envelope
from ledger.errors import Code, Refused
from ledger.keys import DID_KEY_PREFIX
from ledger.proposal import Action, Proposal, Release, kind_of, read_action
from ledger.records import NonceWindow
from ledger.roles import Identity, check_verb
from state.reader import StateReader


@dataclass(frozen=True, slots=True)
class Constants:
    """What admission depends on besides the bytes: the chain and its parameters."""

    chain_id: str
    image_digest_required: bool
    proposal_ttl_blocks: int


@dataclass(frozen=True, slots=True)
class Opened:
    """An envelope whose form and signatures are right. Bodies are dropped: the transaction carries them."""

    id: str
    envelope: Envelope
    digest: str
    action: Action


@dataclass(frozen=True, slots=True)
class Admitted:
    """An opened envelope whose signer may speak now, and the signer's nonce window after it."""

    opened: Opened
    signer: Identity
    nonces: NonceWindow


def open_envelope(tx: bytes, constants: Constants, *, mempool: StateReader | None = None) -> Opened:
    """Decode a transaction, verify its signatures and read its action.

    Args:
        tx: the transaction as received.
        constants: of the ledger.
        mempool: the check state; CheckTx alone gives it. Strangers are then refused before any work of a size
            they choose, and signatures that the fast library refuses are not tried by the slow exact rule.

    Raises:
        Refused: any code of ``ledger.envelope`` and ``ledger.proposal``; SIGNER_UNKNOWN with ``mempool``.
    """
    envelope = envelopes.decode(tx)
    if mempool is not None:
        identity_of(mempool, envelope.signer)
    keys = frozenset({envelope.signer.removeprefix(DID_KEY_PREFIX)})
    identifier = envelopes.verify_signatures(
        envelope, chain_id=constants.chain_id, signer_keys=keys, exact=mempool is None
    )
    action = read_action(envelope.body, image_digest_required=constants.image_digest_required)
    if isinstance(action, Proposal) and isinstance(action.change, Release):
        action = dataclasses.replace(action, change=dataclasses.replace(action.change, manifests=[]))
    return Opened(identifier, _without_body(envelope), envelope.digest, action)


def _without_body(envelope: Envelope) -> Envelope:
    return Envelope(
        b"",
        envelope.chain_id,
        envelope.signer,
        envelope.nonce,
        envelope.not_after_height,
        envelope.signatures,
    )


def admit(opened: Opened, state: StateReader, height: int) -> Admitted:
    """Judge whether the signer may perform the action in a block of ``height``.

    Raises:
        Refused: ENVELOPE_EXPIRED, NOT_AFTER_TOO_FAR, SIGNER_UNKNOWN, NONCE_REPLAYED, NONCE_TOO_OLD,
            AGENT_MAY_NOT_APPROVE or VERB_NOT_ALLOWED.
    """
    envelope = opened.envelope
    rules.check_height(envelope, height)
    signer = identity_of(state, envelope.signer)
    nonces = rules.use_nonce(records.read_nonces(state.get(statekeys.nonce(envelope.signer))), envelope.nonce)
    check_verb(signer, kind_of(opened.action))
    return Admitted(opened, signer, nonces)


def identity_of(state: StateReader, did: str) -> Identity:
    """Give the subject behind ``did``.

    Raises:
        Refused: SIGNER_UNKNOWN.
    """
    record = state.get(statekeys.identity(did))
    if record is None:
        raise Refused(
            Code.SIGNER_UNKNOWN,
            got=did,
            expected="an identity of the ledger",
            todo="have the identity registered",
        )
    return records.read_identity(record)
