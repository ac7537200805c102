"""What a trust store keeps: roots of trust, verified headers, resets; as records and as JSON.

Owns ``TrustRoot``, ``TrustState`` and the shapes of the log's entries. Promises that reading what was
written gives the same, that anything else is ``Damaged``, and which entries survive when a log is
rewritten. Pure. Source: docs/spec/trust.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from consensus.light.fields import Fields
from consensus.light.parse import parse_header, parse_validator, parse_validators
from consensus.light.render import header_json, validators_json
from consensus.light.types import HASH_BYTES, VALIDATORS_MAX, Trusted, ValidatorSet
from consensus.light.verifier import restored
from consensus.trust_log import Damaged
from ledger.errors import Code, ConclaveError, Refused, VerificationFailed
from ledger.limits import CHAIN_ID_BYTES_MAX, MIB, REASON_BYTES_MAX
from ledger.types import JsonObject

ENTRIES_MAX = 128
"""A longer log is rewritten."""
ROOTS_KEPT_MAX = 32
ROOTS_KEPT_BYTES_MAX = 8 * MIB
"""Of roots and resets, the newest: two sets of ``VALIDATORS_MAX`` validators fit."""
_ROOT, _HEADER, _RESET, _COMPACTED = "root", "header", "reset", "compacted"


@dataclass(frozen=True, slots=True)
class TrustRoot:
    """What the operator decided to believe. Made by ``from_genesis``, ``at`` or ``trust_bundle.root_of``.

    Attributes:
        chain_id: the chain.
        height: the height of the first header believed.
        hash: that header's hash; None where the genesis validators are the root.
        validators: the genesis validators; None where a hash is the root.
        by: how it was named, for the log: ``genesis``, ``header``, or whose signed bundle.
    """

    chain_id: str
    height: int
    hash: bytes | None
    validators: ValidatorSet | None
    by: str = field(default="header", compare=False)

    @classmethod
    def from_genesis(cls, genesis: JsonObject) -> TrustRoot:
        """Trust the validators of a genesis file: they must have signed the first header.

        Args:
            genesis: the parsed genesis file.

        Raises:
            Refused: GENESIS_INVALID.
        """
        try:
            fields = Fields(genesis, "genesis", lax=True)
            items = fields.items("validators", VALIDATORS_MAX)
            chosen = tuple(parse_validator(v, i, lax=True, power="power") for i, v in enumerate(items))
            validators = ValidatorSet.of(chosen)
            height = fields.int64("initial_height") if fields.get("initial_height") is not None else 1
            chain_id = fields.text("chain_id", CHAIN_ID_BYTES_MAX)
        except VerificationFailed as error:
            raise Refused(
                Code.GENESIS_INVALID,
                got=error.got,
                expected=error.expected,
                cause=error.code.name,
                **error.facts,
            ) from None
        if not validators.validators or not chain_id or height < 0:
            raise Refused(Code.GENESIS_INVALID, expected="a chain id and at least one validator")
        return cls(chain_id, max(height, 1), None, validators, "genesis")

    @classmethod
    def at(cls, chain_id: str, height: int, header_hash: bytes, *, by: str = "header") -> TrustRoot:
        """Trust the header of ``height`` by its hash, learned from somebody the operator trusts.

        Raises:
            Refused: FIELD_INVALID for no height or a hash that is not 32 bytes.
        """
        if height < 1 or len(header_hash) != HASH_BYTES or not chain_id:
            raise Refused(
                Code.FIELD_INVALID,
                got=f"{chain_id}, height {height}, hash of {len(header_hash)} bytes",
                expected="a chain id, a height from 1 and a hash of 32 bytes",
            )
        return cls(chain_id, height, header_hash, None, by)


@dataclass(frozen=True, slots=True)
class TrustState:
    """The file's content.

    Attributes:
        root: what the operator named.
        newest: the newest verified block; None before the first.
        verified_at_ns: when it was verified, nanoseconds since the epoch; 0 before the first.
    """

    root: TrustRoot
    newest: Trusted | None = None
    verified_at_ns: int = 0


def root_entry(root: TrustRoot) -> JsonObject:
    """Give the entry that begins a log."""
    return {"kind": _ROOT, "root": _root_json(root)}


def reset_entry(root: TrustRoot, reason: str, at_ns: int, was: Trusted | None) -> JsonObject:
    """Give the entry of a person's decision to begin anew."""
    given = reason.encode("utf-8", "replace")[:REASON_BYTES_MAX].decode("utf-8", "ignore")
    return {"kind": _RESET, "root": _root_json(root), "reason": given, "at": at_ns, "was": _named(was)}


def header_entry(newest: Trusted, verified_at_ns: int, ground: Trusted | None) -> JsonObject:
    """Give the entry of a header, verified on the ground of ``ground``, or of the root where that is None."""
    return {
        "kind": _HEADER,
        "header": header_json(newest.header),
        "nextValidators": None if newest.next_validators is None else validators_json(newest.next_validators),
        "verifiedAt": verified_at_ns,
        "ground": _named(ground),
    }


def to_bytes(entry: JsonObject) -> bytes:
    """Give an entry as it is written."""
    return json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()


def read_entries(contents: Sequence[bytes]) -> tuple[TrustState, tuple[JsonObject, ...]]:
    """Give the state that a log's records add up to, and the records.

    Raises:
        Damaged: for anything but what this module wrote.
    """
    entries: list[JsonObject] = []
    root = newest = None
    for place, content in enumerate(contents):
        try:
            entry = json.loads(content)
            kind = entry["kind"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Damaged(place + 1, 0, "a record of no known form") from None
        entries.append(entry)
        if kind in (_ROOT, _RESET):
            root, newest = place, None
        elif kind == _HEADER:
            newest = place
    if root is None:
        raise Damaged(1, 0, "no root of trust")
    state = _applied_at(TrustState(TrustRoot("", 1, b"", None)), entries, root)
    return state if newest is None else _applied_at(state, entries, newest), tuple(entries)


def _applied_at(state: TrustState, entries: list[JsonObject], place: int) -> TrustState:
    try:
        return applied(state, entries[place])
    except (ConclaveError, ValueError, KeyError, TypeError, RecursionError) as error:
        problem = str(error) if isinstance(error, ConclaveError) else type(error).__name__
        raise Damaged(place + 1, 0, problem) from None


def applied(state: TrustState, entry: JsonObject) -> TrustState:
    """Give the state after an entry that this module wrote."""
    if entry["kind"] in (_ROOT, _RESET):
        return TrustState(_read_root(entry["root"]))
    if entry["kind"] == _HEADER:
        return replace(state, newest=_read_trusted(entry), verified_at_ns=int(entry["verifiedAt"]))
    return state


def compacted(entries: Sequence[JsonObject]) -> list[JsonObject]:
    """Give what stays of a log that is rewritten: the newest roots and resets, and the newest header."""
    roots = [place for place, entry in enumerate(entries) if entry["kind"] in (_ROOT, _RESET)]
    kept, size = [roots[-1]], 0
    for place in reversed(roots[:-1]):
        size += len(to_bytes(entries[place]))
        if len(kept) == ROOTS_KEPT_MAX or size > ROOTS_KEPT_BYTES_MAX:
            break
        kept.append(place)
    if entries[-1]["kind"] == _HEADER:
        kept.append(len(entries) - 1)
    dropped = sum(entry["dropped"] for entry in entries if entry["kind"] == _COMPACTED)
    gone = sum(entry["kind"] != _COMPACTED for entry in entries) - len(kept)
    return [{"kind": _COMPACTED, "dropped": dropped + gone}, *(entries[place] for place in sorted(kept))]


def _named(trusted: Trusted | None) -> JsonObject | None:
    return None if trusted is None else {"height": trusted.height, "hash": trusted.hash.hex()}


def _root_json(root: TrustRoot) -> JsonObject:
    return {
        "chainId": root.chain_id,
        "height": root.height,
        "hash": None if root.hash is None else root.hash.hex(),
        "validators": None if root.validators is None else validators_json(root.validators),
        "by": root.by,
    }


def _read_root(value: JsonObject) -> TrustRoot:
    return TrustRoot(
        chain_id=str(value["chainId"]),
        height=int(value["height"]),
        hash=None if value["hash"] is None else bytes.fromhex(value["hash"]),
        validators=None if value["validators"] is None else parse_validators(value["validators"]),
        by=str(value["by"]),
    )


def _read_trusted(value: JsonObject) -> Trusted:
    header = parse_header(value["header"])
    following = None if value["nextValidators"] is None else parse_validators(value["nextValidators"])
    return restored(header, following)
