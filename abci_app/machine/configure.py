"""Changes of the ledger's own objects: as a whole or not at all.

Owns ledger objects, their versions and the constitution's record. Promises that every version ever in force
stays readable, that nothing is removed which others name, and that no change locks the ledger out. Source:
docs/spec/authority.md §1, §3, §6.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from abci_app import indexes
from abci_app.check import identity_of
from abci_app.machine import agents, guard, identities, membership
from abci_app.machine.context import Context
from abci_app.machine.world import constitution_of, constitution_record, existing_object, stored_object
from ledger import identity as identity_rules
from ledger import records, shape, statekeys
from ledger.authority.granting import check_grant
from ledger.authority.objects import (
    StoredObject,
    read_approval_rule,
    read_break_glass,
    read_role,
    read_role_binding,
    write_stored,
)
from ledger.changes import CONSTITUTION_KINDS, Configure, LedgerObject, ObjectName
from ledger.errors import Code, Refused
from ledger.identity import IdentityRecord
from ledger.limits import (
    AGENT_POLICIES_MAX,
    BINDINGS_MAX,
    BREAK_GLASSES_MAX,
    CLUSTERS_MAX,
    IDENTITIES_MAX,
    ROLES_MAX,
    RULES_MAX,
)
from ledger.records import ConstitutionRecord, ObjectVersion
from ledger.types import SubjectKind, sha256
from state.reader import StateReader

_MAXIMA = {
    "Role": ROLES_MAX,
    "RoleBinding": BINDINGS_MAX,
    "ApprovalRule": RULES_MAX,
    "BreakGlass": BREAK_GLASSES_MAX,
    "Cluster": CLUSTERS_MAX,
    "AgentPolicy": AGENT_POLICIES_MAX,
}
_LISTS = {
    "Role": "roles",
    "RoleBinding": "bindings",
    "ApprovalRule": "rules",
    "BreakGlass": "break_glasses",
}
"""Kind and the list of the constitution's record that holds it."""


def apply(ctx: Context, change: Configure, authority: str, granter: IdentityRecord) -> None:
    """Remove and put ledger objects.

    Args:
        ctx: thrown away if this raises.
        change: what.
        authority: id of the proposal.
        granter: who proposed it, and so grants its bindings.

    Raises:
        Refused: OBJECT_UNKNOWN, OBJECT_IN_USE, GRANT_EXCEEDS_GRANTER, DELEGATION_TOO_DEEP, LOCKOUT,
            IDENTITY_IMMUTABLE, KEY_TAKEN, INCEPTION_INVALID, VALIDATOR_STEP_TOO_LARGE, VALIDATORS_INVALID,
            UPGRADE_INVALID, LIMIT_EXCEEDED, any code of ``shape``.
    """
    granting = constitution_of(ctx.state)
    for name in change.remove:
        _REMOVERS.get(name.kind, _remove_object)(ctx, name)
    for wanted in change.put:
        _PUTTERS.get(wanted.kind, _put_object)(ctx, wanted, authority)
    touched = [(o.kind, o.name) for o in change.remove] + [(o.kind, o.name) for o in change.put]
    if any(kind in CONSTITUTION_KINDS for kind, _ in touched):
        write_constitution(ctx, touched, authority)
        after = constitution_of(ctx.state)
        for wanted in change.put:
            if wanted.kind == "RoleBinding":
                made = read_role_binding(existing_object(ctx.state, wanted.kind, wanted.name))
                check_grant(granting, after, made, granter, ctx.height)
        check_references(ctx)
    if any(kind in (*CONSTITUTION_KINDS, "Identity") for kind, _ in touched):
        identities.check_not_locked_out(ctx)


def write_constitution(ctx: Context, touched: list[tuple[str, str]], authority: str | None) -> None:
    """Write the next version of the constitution after its objects changed."""
    content = ctx.state.get(statekeys.CONSTITUTION)
    if content is None:
        before = ConstitutionRecord(1, "0" * 64, ctx.height, None, (), (), (), ())
    else:
        before = records.read_constitution(content)
    digest = bytes.fromhex(before.digest)
    lists = {kind: {v.name: v for v in getattr(before, field)} for kind, field in _LISTS.items()}
    for kind, name in touched:
        if kind not in _LISTS:
            continue
        stored = ctx.state.get(statekeys.ledger_object(kind, name))
        digest = sha256(digest + sha256(f"{kind}/{name}".encode()) + sha256(stored or b""))
        lists[kind].pop(name, None)
        if stored is not None:
            found = existing_object(ctx.state, kind, name)
            subject = found.spec["subject"] if kind == "RoleBinding" else None
            lists[kind][name] = ObjectVersion(name, found.version, subject)
    record = ConstitutionRecord(
        version=before.version + (content is not None),
        digest=digest.hex(),
        height=ctx.height,
        authority=authority,
        **{field: tuple(lists[kind][name] for name in sorted(lists[kind])) for kind, field in _LISTS.items()},
    )
    ctx.put(statekeys.CONSTITUTION, record)
    ctx.put(statekeys.constitution_version(record.version), record)
    ctx.emit("constitution", version=record.version, authority=authority)


def put_object(ctx: Context, wanted: LedgerObject, authority: str | None) -> None:
    """Put one object of the constitution, a cluster or an agent's policy; its spec is read strictly.

    Raises:
        Refused: any code of ``shape``; LIMIT_EXCEEDED; SIGNER_UNKNOWN for an agent's policy.
    """
    key = statekeys.ledger_object(wanted.kind, wanted.name)
    known = stored_object(ctx.state, wanted.kind, wanted.name)
    removed = statekeys.removed_object(wanted.kind, wanted.name)
    version = records.read_count(ctx.state.get(removed)) if known is None else known.version
    stored = StoredObject(
        kind=wanted.kind,
        name=wanted.name,
        labels=wanted.labels,
        version=version + 1,
        height=ctx.height,
        authority=authority,
        spec=wanted.spec,
    )
    _SPECS[wanted.kind](ctx.state, stored)
    uses = statekeys.break_glass_uses(wanted.name)
    if wanted.kind == "BreakGlass" and ctx.state.get(uses) is not None:
        # Renewed by the quorum, it is whole again.
        ctx.state.delete(uses)
    index = statekeys.index_objects(wanted.kind)
    if indexes.insert(ctx.state, index, wanted.name) and (
        indexes.count(ctx.state, index) > _MAXIMA[wanted.kind]
    ):
        raise Refused(
            Code.LIMIT_EXCEEDED,
            got=_MAXIMA[wanted.kind] + 1,
            expected=f"at most {_MAXIMA[wanted.kind]} of {wanted.kind}",
        )
    content = write_stored(stored)
    ctx.state.put(key, content)
    ctx.state.put(statekeys.ledger_object_version(wanted.kind, wanted.name, stored.version), content)
    ctx.emit("object", kind=wanted.kind, name=wanted.name, version=stored.version, state="put")


def _put_object(ctx: Context, wanted: LedgerObject, authority: str) -> None:
    put_object(ctx, wanted, authority)


def _remove_object(ctx: Context, name: ObjectName) -> None:
    known = existing_object(ctx.state, name.kind, name.name)
    if name.kind == "Cluster" and indexes.count(ctx.state, statekeys.cluster_releases(name.name)):
        raise _in_use(name, "a cluster without releases")
    ctx.state.delete(statekeys.ledger_object(name.kind, name.name))
    ctx.state.put(statekeys.removed_object(name.kind, name.name), records.write_count(known.version))
    indexes.remove(ctx.state, statekeys.index_objects(name.kind), name.name)
    ctx.emit("object", kind=name.kind, name=name.name, version=known.version, state="removed")


def check_references(ctx: Context) -> None:
    """Every role, parent and subject that the constitution names is there."""
    record = constitution_record(ctx.state)
    constitution = constitution_of(ctx.state)
    roles = {role.name for role in record.roles}
    bindings = {binding.name for binding in record.bindings}
    for binding in constitution.bindings:
        if binding.role not in roles:
            raise _in_use(ObjectName("Role", binding.role), f"named by RoleBinding {binding.name}")
        if binding.parent is not None and binding.parent not in bindings:
            raise _in_use(ObjectName("RoleBinding", binding.parent), f"parent of {binding.name}")
        identity_of(ctx.state, binding.subject)
    for rule in constitution.rules:
        for item in rule.require.quorum:
            if item.role not in roles:
                raise _in_use(ObjectName("Role", item.role), f"named by ApprovalRule {rule.name}")


def _put_identity(ctx: Context, wanted: LedgerObject, authority: str) -> None:
    del authority
    found = identity_rules.read_identity_object(
        wanted.name, wanted.spec, "spec", chain_id=ctx.constants.chain_id, height=ctx.height
    )
    put_identity(ctx, found)


def put_identity(ctx: Context, wanted: IdentityRecord) -> None:
    """Register an identity, or give a known one another organisation or cluster.

    Raises:
        Refused: IDENTITY_IMMUTABLE, CLUSTER_UNKNOWN, FIELD_INVALID, LIMIT_EXCEEDED, KEY_TAKEN.
    """
    content = ctx.state.get(statekeys.identity(wanted.did))
    named = ctx.state.get(statekeys.identity_name(wanted.name))
    if named is not None and records.read_did(named) != wanted.did:
        raise Refused(
            Code.IDENTITY_IMMUTABLE, got=wanted.did, expected=records.read_did(named), object=wanted.name
        )
    if wanted.cluster is not None:
        if wanted.kind is not SubjectKind.NODE:
            raise shape.invalid("spec.cluster", wanted.cluster, "null for everybody but nodes")
        if ctx.state.get(statekeys.ledger_object("Cluster", wanted.cluster)) is None:
            raise Refused(
                Code.CLUSTER_UNKNOWN,
                got=wanted.cluster,
                expected="a cluster of the ledger",
                field="spec.cluster",
            )
    if content is None:
        ctx.state.put(statekeys.identity_name(wanted.name), records.write_did(wanted.did))
        identities.write(ctx, wanted, cause="registration")
        if indexes.count(ctx.state, statekeys.INDEX_IDENTITIES) > IDENTITIES_MAX:
            raise Refused(Code.LIMIT_EXCEEDED, got=IDENTITIES_MAX + 1, expected=f"at most {IDENTITIES_MAX}")
        return
    known = identity_rules.read_identity(content)
    if (known.name, known.kind) != (wanted.name, wanted.kind) or known.deactivated is not None:
        raise Refused(
            Code.IDENTITY_IMMUTABLE,
            got=f"{wanted.kind.value} {wanted.name}",
            expected=f"{known.kind.value} {known.name}, not deactivated",
            object=wanted.name,
        )
    changed = dataclasses.replace(
        known,
        organisation=wanted.organisation,
        cluster=wanted.cluster,
        version=known.version + 1,
        height=ctx.height,
    )
    identities.write(ctx, changed, cause="change")


def _remove_identity(ctx: Context, name: ObjectName) -> None:
    named = ctx.state.get(statekeys.identity_name(name.name))
    if named is None:
        raise Refused(
            Code.OBJECT_UNKNOWN,
            got=f"Identity {name.name}",
            expected="an identity of the ledger",
            kind="Identity",
            object=name.name,
        )
    subject = identity_of(ctx.state, records.read_did(named))
    if membership.is_validator(ctx.state, subject.did):
        raise _in_use(name, "a node that is no validator")
    identities.write(ctx, identity_rules.deactivate(subject, ctx.height), cause="deactivation")


def _put_parameters(ctx: Context, wanted: LedgerObject, authority: str) -> None:
    if wanted.name != "parameters":
        raise shape.invalid("metadata.name", wanted.name, "parameters")
    parameters = records.read_parameters_object(wanted.spec, "spec")
    ctx.put(statekeys.PARAMETERS, parameters)
    ctx.emit("object", kind="Parameters", name="parameters", state="put", authority=authority)


def _in_use(name: ObjectName, why: str) -> Refused:
    return Refused(
        Code.OBJECT_IN_USE,
        got=f"{name.kind} {name.name}",
        expected=why,
        todo="remove first what names it",
        kind=name.kind,
        object=name.name,
    )


_SPECS: dict[str, Callable[[StateReader, StoredObject], object]] = {
    "Role": lambda _, stored: read_role(stored),
    "RoleBinding": lambda _, stored: read_role_binding(stored),
    "ApprovalRule": lambda _, stored: read_approval_rule(stored),
    "BreakGlass": lambda _, stored: read_break_glass(stored),
    "Cluster": lambda _, stored: shape.fields(stored.spec, "spec", required=()),
    "AgentPolicy": agents.check_policy,
}
_PUTTERS: dict[str, Callable[[Context, LedgerObject, str], None]] = {
    "Identity": _put_identity,
    "Parameters": _put_parameters,
    "Validator": lambda ctx, wanted, _: membership.put_validator(ctx, wanted.name, wanted.spec),
    "Upgrade": lambda ctx, wanted, _: membership.put_upgrade(ctx, wanted.name, wanted.spec),
}
_REMOVERS: dict[str, Callable[[Context, ObjectName], None]] = {
    "Identity": _remove_identity,
    "Validator": lambda ctx, name: membership.remove_validator(ctx, name.name),
    "Upgrade": lambda ctx, name: membership.remove_upgrade(ctx, name.name),
    "Freeze": lambda ctx, name: guard.unfreeze(ctx, name.name),
    "Suspension": lambda ctx, name: agents.lift(ctx, name.name),
}
