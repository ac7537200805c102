"""Envelopes the ledger keeps, judged again: who signed them, with which keys, at which height.

Owns the re-verification of signatures and of the keys behind them. Promises that an envelope is believed only
if every signature verifies under a key that its signer had, active and for that purpose, at the height that
included it. Works on any getter of proven values; performs no I/O itself. Source: docs/spec/identities.md.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from ledger import canonical, shape, statekeys
from ledger import envelope as envelopes
from ledger import identity as identities
from ledger.actions import Action, kind_of, purpose_of, read_action
from ledger.envelope import Envelope
from ledger.errors import Code, Refused, VerificationFailed, caused
from ledger.identity import IdentityRecord
from ledger.key_set import read_base64
from ledger.keys import PUBLIC_KEY_BYTES, Algorithm, PublicKey
from ledger.types import ActionKind, SubjectKind

R = TypeVar("R")
Get = Callable[[bytes], bytes | None]

_SPEAKERS = {
    ActionKind.PROPOSAL: frozenset({SubjectKind.HUMAN, SubjectKind.AGENT}),
    ActionKind.APPROVAL: frozenset({SubjectKind.HUMAN}),
    ActionKind.REJECTION: frozenset({SubjectKind.HUMAN}),
    ActionKind.REPORT: frozenset({SubjectKind.NODE}),
}
"""Which kinds of subject may ever say what is judged again here (docs/spec/authority.md §3)."""


@dataclass(frozen=True, slots=True)
class Said:
    """An envelope whose signatures verify under the keys it names, and its action."""

    envelope: Envelope
    digest: str
    action: Action

    @property
    def keys(self) -> tuple[str, ...]:
        """The ids of the keys that signed."""
        return tuple(signature.key_id for signature in self.envelope.signatures)


class Evidence:
    """Envelopes already judged, by id. An id is a hash of all that was signed, so one judgement is for ever.

    Whose the keys are, and whether they might sign then, is no part of that judgement (``speaker``).

    Args:
        chain_id: the chain.
        bytes_max: how many bytes of envelopes are remembered.
    """

    def __init__(self, chain_id: str, bytes_max: int = 32 * 1024 * 1024) -> None:
        self.chain_id, self._bytes_max, self._bytes = chain_id, bytes_max, 0
        self._said: OrderedDict[str, Said] = OrderedDict()

    def copy(self) -> Evidence:
        """Give what is judged so far; what the copy judges more does not count here."""
        found = Evidence(self.chain_id, self._bytes_max)
        found._bytes, found._said = self._bytes, self._said.copy()
        return found

    def unknown(self, identifiers: Iterable[str]) -> list[bytes]:
        """Give the keys of those envelopes that were not judged yet."""
        return [statekeys.envelope(one) for one in identifiers if one not in self._said]

    def said(self, get: Get, identifier: str) -> Said:
        """Give the envelope ``identifier``, its signatures verified.

        Raises:
            VerificationFailed: LEDGER_RECORD_INVALID, OPERATOR_SIGNATURE_INVALID.
        """
        known = self._said.get(identifier)
        if known is not None:
            self._said.move_to_end(identifier)
            return known
        key = statekeys.envelope(identifier)
        said = open_envelope(get, required(get, key, lambda content: content), self.chain_id, key)
        if envelopes.envelope_id(said.envelope) != identifier:
            raise unbound(key, envelopes.envelope_id(said.envelope), identifier)
        self._said[identifier] = said
        self._bytes += len(said.envelope.body)
        while self._bytes > self._bytes_max and len(self._said) > 1:
            self._bytes -= len(self._said.popitem(last=False)[1].envelope.body)
        return said


def ahead(get: Get, keys: Iterable[bytes]) -> None:
    """Say which keys are read next, so that they are asked together where ``get`` can; no value changes."""
    foresee = getattr(get, "ahead", None)
    if foresee is not None:
        foresee(keys)


def required(get: Get, key: bytes, read: Callable[[bytes], R]) -> R:
    """Read the record at ``key``, which another record promises to exist.

    Raises:
        VerificationFailed: LEDGER_RECORD_INVALID where it is absent or not understood.
    """
    content = get(key)
    if content is None:
        raise unbound(key, "nothing", "the record another one names")
    try:
        return read(content)
    except Refused as refusal:
        raise caused(
            VerificationFailed, Code.LEDGER_RECORD_INVALID, refusal, key=statekeys.text(key)
        ) from None


def optional(get: Get, key: bytes, read: Callable[[bytes], R]) -> R | None:
    """Read the record at ``key``; None where its absence is proven.

    Raises:
        VerificationFailed: LEDGER_RECORD_INVALID where it is not understood.
    """
    return None if get(key) is None else required(get, key, read)


def unbound(key: bytes, got: object, expected: object) -> VerificationFailed:
    """Make the refusal of a record that does not fit the one that names it."""
    return VerificationFailed(
        Code.LEDGER_RECORD_INVALID, got=got, expected=str(expected), key=statekeys.text(key)
    )


def open_envelope(get: Get, content: bytes, chain_id: str, key: bytes) -> Said:
    """Open an envelope the ledger keeps and verify every signature on it.

    Raises:
        VerificationFailed: OPERATOR_SIGNATURE_INVALID with the cause; LEDGER_RECORD_INVALID for the record of
            a composite key that is not understood.
    """
    try:
        envelope = envelopes.decode(content)
        envelopes.verify_signatures(
            envelope, chain_id=chain_id, resolve=lambda key_id: _registered(get, key_id, envelope.signer)
        )
        # Pinning was judged by the parameters of its time; what was signed is judged here.
        action = read_action(envelope.body, image_digest_required=False)
    except Refused as refusal:
        raise caused(
            VerificationFailed, Code.OPERATOR_SIGNATURE_INVALID, refusal, key=statekeys.text(key)
        ) from None
    return Said(envelope, envelope.digest, action)


def speaker(get: Get, said: Said, kind: ActionKind, height: int, key: bytes) -> IdentityRecord:
    """Give the identity that spoke, as of ``height``, if it might say such a thing then with such keys.

    Args:
        get: gives proven values.
        said: the envelope.
        kind: what it must be.
        height: that included it.
        key: where it is kept, for a refusal.

    Raises:
        VerificationFailed: LEDGER_RECORD_INVALID, OPERATOR_SIGNATURE_INVALID.
    """
    did = said.envelope.signer
    if kind_of(said.action) is not kind:
        raise unbound(key, f"{kind_of(said.action)} by {did}", f"{kind} by {did}")
    if height > said.envelope.not_after_height:
        raise unbound(key, f"included at {height}", f"at most {said.envelope.not_after_height}")
    identity = identity_at(get, did, height)
    if identity is None:
        raise _not_theirs(key, f"{did} at height {height}", "a signer registered by then")
    if identity.kind not in _SPEAKERS[kind]:
        got = f"{identity.kind.value} {identity.name}: {kind.value}"
        raise _not_theirs(key, got, "what its kind may say")
    for key_id in said.keys:
        found = identity.key_at(key_id, height)
        if found is None or purpose_of(kind) not in found.purposes:
            raise _not_theirs(
                key,
                f"{key_id} at height {height}",
                f"a key of {identity.name}, active then, with purpose {purpose_of(kind).value}",
            )
    return identity


def identity_at(get: Get, did: str, height: int) -> IdentityRecord | None:
    """Give a subject as it was at the end of ``height``; None before it was registered.

    Raises:
        VerificationFailed: LEDGER_RECORD_INVALID.
    """
    newest = _identity(get, statekeys.identity(did), did)
    found = identities.version_at(newest, lambda number: _version(get, did, number), height)
    if found is not None and found.version < newest.version:
        following = newest if found.version + 1 == newest.version else _version(get, did, found.version + 1)
        if following.height <= height:
            raise unbound(statekeys.identity(did), following.height, "versions of rising heights")
    return found


def _version(get: Get, did: str, number: int) -> IdentityRecord:
    key = statekeys.identity_version(did, number)
    found = _identity(get, key, did)
    if found.version != number:
        raise unbound(key, f"version {found.version}", f"version {number}")
    return found


def _identity(get: Get, key: bytes, did: str) -> IdentityRecord:
    found = required(get, key, identities.read_identity)
    if found.did != did:
        raise unbound(key, found.did, did)
    return found


def _registered(get: Get, key_id: str, did: str) -> PublicKey | None:
    """Give the bytes of a composite key from the record made when it was registered."""
    key = statekeys.key(key_id)
    return optional(get, key, lambda content: _read_key(content, did))


def _read_key(content: bytes, did: str) -> PublicKey | None:
    value = shape.fields(canonical.load_plain(content), "key", required=("algorithm", "did", "publicKey"))
    algorithm = Algorithm(shape.choice(value["algorithm"], "key.algorithm", list(Algorithm)))
    raw = read_base64(value["publicKey"], "key.publicKey", PUBLIC_KEY_BYTES[algorithm])
    return PublicKey(algorithm, raw) if value["did"] == did else None


def _not_theirs(key: bytes, got: str, expected: str) -> VerificationFailed:
    return VerificationFailed(
        Code.OPERATOR_SIGNATURE_INVALID, got=got, expected=expected, key=statekeys.text(key)
    )
