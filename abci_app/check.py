"""From bytes to an envelope that may act: the same road for CheckTx, proposals and blocks.

Owns the order of the admission rules: cheap first, attacker-sized work last. What ``open_envelope`` gives
depends on the bytes, the ledger's constants and keys that never change once registered, so it may be
remembered by transaction hash.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from abci_app import rules
from ledger import account as accounts
from ledger import canonical, records, shape, statekeys
from ledger import envelope as envelopes
from ledger import identity as identities
from ledger.account import Account
from ledger.actions import (
    URGENT_KINDS,
    Action,
    Judgement,
    KeyChange,
    Proposal,
    Revocation,
    kind_of,
    purpose_of,
    read_action,
)
from ledger.authority.scope import asks_for_host, touches_of_release
from ledger.changes import Release
from ledger.envelope import Envelope
from ledger.errors import Code, Refused
from ledger.identity import IdentityRecord
from ledger.key_set import Purpose, commitment, resolve_first
from ledger.keys import Algorithm, PublicKey, algorithm_of
from ledger.limits import URGENT_ENVELOPES_PER_WINDOW
from ledger.records import ContentRecord, Parameters, TouchRecord
from ledger.types import ActionKind, SubjectKind
from state.reader import StateReader

Resolver = Callable[[str], PublicKey | None]


@dataclass(frozen=True, slots=True)
class Constants:
    """What admission depends on besides the bytes: the chain and its parameters."""

    chain_id: str
    parameters: Parameters


@dataclass(frozen=True, slots=True)
class Opened:
    """An envelope whose form and signatures are right. Bodies are dropped: the transaction carries them.

    Attributes:
        keys: the ids of the keys that signed.
        content: of a release proposal, what the machine must know besides the manifests.
    """

    id: str
    envelope: Envelope
    digest: str
    action: Action
    keys: tuple[str, ...]
    content: ContentRecord | None = None

    @property
    def is_urgent(self) -> bool:
        """Whether it only takes away, and so passes a flooded mempool first."""
        return kind_of(self.action) in URGENT_KINDS


@dataclass(frozen=True, slots=True)
class Admitted:
    """An opened envelope whose signer may speak now, and the signer's account after it."""

    opened: Opened
    signer: IdentityRecord
    account: Account


def open_envelope(
    tx: bytes,
    constants: Constants,
    state: StateReader | None = None,
    *,
    members_only: bool = False,
    exact: bool = True,
) -> Opened:
    """Decode a transaction, verify its signatures and read its action.

    Args:
        tx: the transaction as received.
        constants: of the ledger.
        state: where composite keys are registered; without it there are none.
        members_only: refuse strangers before any work of a size they choose. CheckTx alone says so.
        exact: try signatures that the fast library refuses by the slow exact rule. False where a node judges
            for itself alone (CheckTx, ProcessProposal), never where all must judge alike.

    Raises:
        Refused: any code of ``ledger.envelope`` and ``ledger.actions``; SIGNER_UNKNOWN of a stranger.
    """
    envelope = envelopes.decode(tx)
    keys = tuple(signature.key_id for signature in envelope.signatures)
    if members_only and state is not None:
        _check_known(identity_of(state, envelope.signer), keys)
    resolve, action = resolver(state), None
    if any(algorithm_of(key) is not Algorithm.ED25519 for key in keys):
        # A composite key that is only just presented is found in the action that presents it.
        action = _read(envelope, constants)
        if isinstance(action, KeyChange):
            resolve = resolve_first(action.keys, resolve)
    identifier = envelopes.verify_signatures(
        envelope, chain_id=constants.chain_id, resolve=resolve, exact=exact
    )
    action = action or _read(envelope, constants)
    content = None
    if isinstance(action, Proposal) and isinstance(action.change, Release):
        content = content_of(action.change)
        action = dataclasses.replace(action, change=dataclasses.replace(action.change, manifests=[]))
    return Opened(
        identifier,
        dataclasses.replace(envelope, body=b"", signatures=()),
        envelope.digest,
        action,
        keys,
        content,
    )


def _read(envelope: Envelope, constants: Constants) -> Action:
    return read_action(envelope.body, image_digest_required=constants.parameters.image_digest_required)


def _check_known(signer: IdentityRecord, keys: tuple[str, ...]) -> None:
    """Every key is the signer's or one it committed to: nobody makes this node judge by keys of strangers."""
    listed = {key.key_id for key in signer.keys}
    for key in keys:
        if key not in listed and commitment(key) not in signer.next:
            raise Refused(Code.KEY_NOT_OF_SIGNER, got=key, expected="a key of the signer", signer=signer.did)


def content_of(release: Release) -> ContentRecord:
    """Give what the machine must know of a release besides its manifests."""
    touches = touches_of_release(release.name, release.namespace, release.manifests)
    return ContentRecord(
        release=release.name,
        namespace=release.namespace,
        spec=release.spec,
        touches=tuple(TouchRecord(t.kind, t.namespace, t.name) for t in touches),
        host=any(asks_for_host(manifest) for manifest in release.manifests),
    )


def resolver(state: StateReader | None) -> Resolver:
    """Give the look-up of registered keys by id."""

    def resolve(key_id: str) -> PublicKey | None:
        content = None if state is None else state.get(statekeys.key(key_id))
        if content is None:
            return None
        value = shape.fields(canonical.load_plain(content), "key", required=("algorithm", "did", "publicKey"))
        return PublicKey(Algorithm(value["algorithm"]), base64.b64decode(value["publicKey"]))

    return resolve


def admit(opened: Opened, state: StateReader, height: int, constants: Constants) -> Admitted:
    """Judge whether the signer may perform the action in a block of ``height``.

    Raises:
        Refused: ENVELOPE_EXPIRED, NOT_AFTER_TOO_FAR, SIGNER_UNKNOWN, KEY_NOT_OF_SIGNER, KEY_NOT_ACTIVE,
            KEY_PURPOSE_MISSING, SIGNER_DEACTIVATED, AGENT_SUSPENDED, NONCE_REPLAYED, NONCE_TOO_OLD,
            NONCE_TOO_FAR, RATE_EXCEEDED, AGENT_MAY_NOT_APPROVE or VERB_NOT_ALLOWED.
    """
    envelope, kind = opened.envelope, kind_of(opened.action)
    rules.check_height(envelope, height)
    signer = identity_of(state, envelope.signer)
    takes_back = _takes_back(opened.action, state, signer)
    if kind is ActionKind.RECOVERY or kind is ActionKind.ROTATION:
        identities.check_key_change_signers(signer, opened.keys)
    elif takes_back:
        identities.check_signers(signer, opened.keys, purpose_of(kind), Purpose.PROPOSE)
    else:
        identities.check_signers(signer, opened.keys, purpose_of(kind))
    check_not_suspended(state, signer)
    # Whoever stole the keys can use up nonces and rate; the keys that were committed to get past that.
    recovers = kind is ActionKind.RECOVERY
    account = accounts.use_nonce(account_of(state, envelope.signer), envelope.nonce, late=recovers)
    # What only takes away has room of its own: a subject that used up its share can still stop things.
    most = constants.parameters.envelopes_per_window_max
    most += URGENT_ENVELOPES_PER_WINDOW if opened.is_urgent else 0
    account = account if recovers else accounts.count_envelope(account, height, most)
    ends_own_keys = isinstance(opened.action, Revocation) and opened.action.subject == signer.did
    rules.check_kind(signer, kind, own=ends_own_keys or takes_back)
    return Admitted(opened, signer, account)


def _takes_back(action: Action, state: StateReader, signer: IdentityRecord) -> bool:
    """Tell whether this rejects what the signer proposed itself."""
    if not isinstance(action, Judgement) or action.kind is not ActionKind.REJECTION:
        return False
    content = state.get(statekeys.proposal(action.proposal))
    return content is not None and records.read_proposal(content).proposer == signer.did


def check_not_suspended(state: StateReader, subject: IdentityRecord) -> None:
    """The subject is no agent that was cut off.

    Raises:
        Refused: AGENT_SUSPENDED.
    """
    if subject.kind is SubjectKind.AGENT and state.get(statekeys.suspension(subject.did)) is not None:
        raise Refused(
            Code.AGENT_SUSPENDED,
            got=f"agent {subject.name}",
            expected="an agent that is not suspended",
            todo="a person looks at the audit and has the suspension removed",
            signer=subject.did,
        )


def account_of(state: StateReader, did: str) -> Account:
    """Give what the subject behind ``did`` has used."""
    return accounts.read(state.get(statekeys.account(did)))


def identity_of(state: StateReader, did: str) -> IdentityRecord:
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
    return identities.read_identity(record)
