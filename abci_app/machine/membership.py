"""Who validates, and by which version of the rules: changed by proposals like everything else.

Owns the validator set as the ledger wants it and the coming upgrade. Promises that no block changes more
than a third of the voting power, that a validator's key is an active key of the node identity it is bound
to, and that there is always a set. Source: docs/spec/membership.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from abci_app.check import identity_of
from abci_app.machine.context import Context
from ledger import codec, records, statekeys
from ledger.errors import Code, Refused
from ledger.identity import IdentityRecord
from ledger.key_set import Purpose
from ledger.keys import Algorithm
from ledger.limits import VALIDATOR_POWER_MAX, VALIDATORS_MAX
from ledger.records import ProtocolRecord, ValidatorRecord, ValidatorsRecord
from ledger.types import Did, JsonObject, SubjectKind
from state.reader import StateReader

UPGRADE = "upgrade"
"""The one name of an ``Upgrade`` object."""


@dataclasses.dataclass(frozen=True, slots=True)
class ValidatorSpec:
    """What a ``Validator`` object says."""

    node: Did
    key_id: str
    power: codec.Positive


@dataclasses.dataclass(frozen=True, slots=True)
class UpgradeSpec:
    """What an ``Upgrade`` object says: from ``height`` on, the rules of ``version``."""

    height: codec.Positive
    version: codec.Positive


def validators_of(state: StateReader) -> ValidatorsRecord:
    """Give the validator set as the ledger wants it."""
    content = state.get(statekeys.VALIDATORS)
    return ValidatorsRecord(()) if content is None else records.read_validators(content)


def updates(before: ValidatorsRecord, powers: Mapping[str, int]) -> dict[str, int]:
    """Give what CometBFT is told of a block: new powers by key id, 0 only for who was a validator before it.

    A set from which a stranger is to be removed is an error there that no node survives
    (types/validator_set.go, ``verifyRemovals``).
    """
    known = {validator.key_id for validator in before.validators}
    return {key_id: powers[key_id] for key_id in sorted(powers) if powers[key_id] or key_id in known}


def is_validator(state: StateReader, did: str) -> bool:
    """Tell whether a node identity is bound to a validator."""
    return any(validator.node == did for validator in validators_of(state).validators)


def put_validator(ctx: Context, name: str, spec: JsonObject) -> None:
    """Let a node validate, or give it another power or key.

    Raises:
        Refused: SIGNER_UNKNOWN, VALIDATORS_INVALID, VALIDATOR_STEP_TOO_LARGE, any code of ``shape``.
    """
    wanted = codec.read(ValidatorSpec, spec, "spec")
    node = identity_of(ctx.state, wanted.node)
    _check_node(node, wanted)
    record = validators_of(ctx.state)
    others = tuple(v for v in record.validators if v.name != name)
    if any(v.key_id == wanted.key_id or v.node == wanted.node for v in others):
        raise _invalid(f"{wanted.key_id} of {node.name} twice", "each node and key once")
    made = ValidatorRecord(name, wanted.key_id, wanted.power, wanted.node)
    _become(ctx, record, tuple(sorted((*others, made), key=lambda v: v.name)))


def remove_validator(ctx: Context, name: str) -> None:
    """Let a validator leave.

    Raises:
        Refused: OBJECT_UNKNOWN, VALIDATORS_INVALID, VALIDATOR_STEP_TOO_LARGE.
    """
    record = validators_of(ctx.state)
    left = tuple(v for v in record.validators if v.name != name)
    if left == record.validators:
        raise Refused(
            Code.OBJECT_UNKNOWN,
            got=f"Validator {name}",
            expected=", ".join(v.name for v in left),
            kind="Validator",
            object=name,
        )
    _become(ctx, record, left)


def put_upgrade(ctx: Context, name: str, spec: JsonObject) -> None:
    """Name the height at which the next version of the rules comes into force.

    Raises:
        Refused: UPGRADE_INVALID, any code of ``shape``.
    """
    wanted, record = codec.read(UpgradeSpec, spec, "spec"), protocol_of(ctx.state)
    if name != UPGRADE or wanted.version != record.version + 1 or wanted.height <= ctx.height + 1:
        raise Refused(
            Code.UPGRADE_INVALID,
            got=f"{name}: version {wanted.version} at height {wanted.height}",
            expected=f"{UPGRADE}: version {record.version + 1} at height {ctx.height + 2} or later",
            todo="name a coming height and the next version",
        )
    ctx.put(
        statekeys.PROTOCOL,
        dataclasses.replace(record, next_version=wanted.version, next_height=wanted.height),
    )
    ctx.emit("upgrade", version=wanted.version, height=wanted.height, state="planned")


def remove_upgrade(ctx: Context, name: str) -> None:
    """Call a planned upgrade off.

    Raises:
        Refused: OBJECT_UNKNOWN.
    """
    record = protocol_of(ctx.state)
    if name != UPGRADE or record.next_height is None or ctx.height + 1 >= record.next_height:
        raise Refused(
            Code.OBJECT_UNKNOWN,
            got=f"Upgrade {name}",
            expected="an upgrade that is planned and not about to happen",
            kind="Upgrade",
            object=name,
        )
    ctx.put(statekeys.PROTOCOL, ProtocolRecord(record.version))
    ctx.emit("upgrade", version=record.next_version, height=record.next_height, state="called-off")


def protocol_of(state: StateReader) -> ProtocolRecord:
    """Give the version of the rules in force and the one planned."""
    content = state.get(statekeys.PROTOCOL)
    return ProtocolRecord(1) if content is None else records.read_protocol(content)


def version_at(record: ProtocolRecord, height: int) -> int:
    """Give the version of the rules by which a block of ``height`` is judged."""
    if record.next_height is not None and record.next_version is not None and height >= record.next_height:
        return record.next_version
    return record.version


def upgrade(ctx: Context) -> None:
    """At the height that was named, write down that the next version is in force."""
    record = protocol_of(ctx.state)
    version = version_at(record, ctx.height)
    if version != record.version:
        ctx.put(statekeys.PROTOCOL, ProtocolRecord(version))
        ctx.emit("upgrade", version=version, height=ctx.height, state="done")


def _check_node(node: IdentityRecord, wanted: ValidatorSpec) -> None:
    key = next((k for k in node.active_keys if k.key_id == wanted.key_id), None)
    fits = key is not None and key.algorithm is Algorithm.ED25519 and Purpose.VALIDATE in key.purposes
    if node.kind is not SubjectKind.NODE or not fits:
        raise _invalid(
            f"{wanted.key_id} of {node.kind.value} {node.name}",
            "an active ed25519 key of a node identity, with purpose validate",
        )


def _become(ctx: Context, record: ValidatorsRecord, validators: tuple[ValidatorRecord, ...]) -> None:
    """Take another set, if it is a small enough step and can go on."""
    before = {v.key_id: v.power for v in record.validators}
    after = {v.key_id: v.power for v in validators}
    if not after or len(after) > VALIDATORS_MAX or sum(after.values()) > VALIDATOR_POWER_MAX:
        raise _invalid(
            f"{len(after)} validators of power {sum(after.values())}",
            f"1 to {VALIDATORS_MAX}, of power at most {VALIDATOR_POWER_MAX}",
        )
    deltas = {k: after.get(k, 0) - before.get(k, 0) for k in sorted({*before, *after})}
    step = sum(abs(delta) for delta in deltas.values())
    first = record.step_height != ctx.height
    total = sum(before.values()) if first else record.step_total
    changed = step + (0 if first else record.step_changed)
    if 3 * changed > total:
        raise Refused(
            Code.VALIDATOR_STEP_TOO_LARGE,
            got=f"{changed} of {total}",
            expected=f"at most {total // 3} a block",
            todo="take smaller steps, one after the other",
        )
    ctx.put(statekeys.VALIDATORS, ValidatorsRecord(validators, ctx.height, total, changed))
    for key_id, delta in deltas.items():
        if delta:
            ctx.powers[key_id] = after.get(key_id, 0)
            ctx.emit("validator", key_id=key_id, power=after.get(key_id, 0))


def _invalid(got: str, expected: str) -> Refused:
    return Refused(Code.VALIDATORS_INVALID, got=got, expected=expected, todo="correct the update named")
