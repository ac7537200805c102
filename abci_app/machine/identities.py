"""Identities as the machine keeps them: every version, every key once, never a lockout.

Owns identity records and the register of keys. Source: docs/spec/identities.md §3, §4, authority.md §6.
"""

from __future__ import annotations

from abci_app import indexes
from abci_app.check import Admitted, identity_of
from abci_app.machine import incidents
from abci_app.machine.context import Context
from abci_app.machine.incidents import About
from abci_app.machine.world import constitution_of
from ledger import canonical, statekeys
from ledger import identity as rules
from ledger.actions import Deactivation, KeyChange
from ledger.authority import liveness
from ledger.errors import Code, Refused
from ledger.identity import IdentityRecord
from ledger.key_set import KeyRecord
from ledger.records import IncidentKind
from ledger.types import ActionKind


def write(ctx: Context, identity: IdentityRecord, *, cause: str) -> None:
    """Write a new version of an identity, its keys registered.

    Raises:
        Refused: KEY_TAKEN, LIMIT_EXCEEDED.
    """
    content, before = rules.write_identity(identity), ctx.state.get(statekeys.identity(identity.did))
    listed = () if before is None else rules.read_identity(before).keys
    indexes.insert(ctx.state, statekeys.INDEX_IDENTITIES, identity.did)
    known = {key.key_id for key in listed}
    for key in identity.keys:
        if key.key_id not in known:
            _register(ctx, identity, key)
    ctx.state.put(statekeys.identity(identity.did), content)
    ctx.state.put(statekeys.identity_version(identity.did, identity.version), content)
    ctx.emit("identity", did=identity.did, name=identity.name, cause=cause)


def change_keys(ctx: Context, admitted: Admitted, change: KeyChange) -> None:
    """Rotate or recover the signer's keys.

    Raises:
        Refused: KEY_NOT_COMMITTED, ROTATION_UNSIGNED, ROTATION_IMPOSSIBLE, KEY_TAKEN.
    """
    step = rules.rotate if change.kind is ActionKind.ROTATION else rules.recover
    write(
        ctx,
        step(admitted.signer, change.keys, change.next, admitted.opened.keys, ctx.height),
        cause=change.kind.value.lower(),
    )
    if change.kind is ActionKind.RECOVERY:
        signer = admitted.signer
        incidents.record(
            ctx, IncidentKind.RECOVERY, f"{signer.name} recovered its keys", About(subject=signer.did)
        )
    check_not_locked_out(ctx)


def deactivate(ctx: Context, signer: IdentityRecord, wanted: Deactivation) -> None:
    """End the signer for ever.

    Raises:
        Refused: LOCKOUT.
    """
    del wanted
    write(ctx, rules.deactivate(signer, ctx.height), cause="deactivation")
    check_not_locked_out(ctx)


def check_not_locked_out(ctx: Context) -> None:
    """The constitution can still be changed by somebody.

    Raises:
        Refused: LOCKOUT.
    """
    constitution = constitution_of(ctx.state)
    found = [identity_of(ctx.state, did) for did in constitution.subjects if _known(ctx, did)]
    liveness.check_not_locked_out(constitution, found, ctx.height)


def _known(ctx: Context, did: str) -> bool:
    return ctx.state.get(statekeys.identity(did)) is not None


def _register(ctx: Context, identity: IdentityRecord, key: KeyRecord) -> None:
    at = statekeys.key(key.key_id)
    if ctx.state.get(at) is not None:
        raise Refused(
            Code.KEY_TAKEN, got=key.key_id, expected="a key that no identity has had", todo="make a fresh key"
        )
    record = {"algorithm": key.algorithm.value, "did": identity.did, "publicKey": key.public_key}
    ctx.state.put(at, canonical.dump_plain(record))
