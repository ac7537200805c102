"""Who may bind roles to subjects.

Owns the rules on making a binding. Promises that nobody hands on what is not theirs to give, and that only
humans do. Source: docs/spec/authority.md §3.
"""

from __future__ import annotations

from ledger.authority.constitution import Constitution, Subject, check_may
from ledger.authority.objects import RoleBinding, Verb
from ledger.authority.scope import Operation, Risk, Scope, Touch, ledger_kind
from ledger.errors import Code, Refused
from ledger.limits import DELEGATION_DEPTH_MAX
from ledger.types import SubjectKind


def check_depth(constitution: Constitution, binding: RoleBinding) -> None:
    """A binding hangs on at most three parents, all there, none itself.

    Raises:
        Refused: DELEGATION_TOO_DEEP, OBJECT_UNKNOWN.
    """
    missing = _check_not_too_deep(constitution, binding)
    if missing is not None:
        raise Refused(
            Code.OBJECT_UNKNOWN,
            got=f"RoleBinding {missing}",
            expected="a binding of the ledger as parent",
            kind="RoleBinding",
            object=missing,
        )


def _check_not_too_deep(constitution: Constitution, binding: RoleBinding) -> str | None:
    """Walk up a binding's parents; give the name of one that is not there."""
    depth, current = 0, binding
    while current.parent is not None:
        depth += 1
        if depth > DELEGATION_DEPTH_MAX:
            raise Refused(
                Code.DELEGATION_TOO_DEEP,
                got=f"{binding.name}, {depth} deep at {current.parent}",
                expected=f"at most {DELEGATION_DEPTH_MAX} parents",
                todo="delegate from a binding nearer to the root",
                object=binding.name,
            )
        parent = constitution.binding(current.parent)
        if parent is None:
            return current.parent
        current = parent
    return None


def check_grant(
    before: Constitution, after: Constitution, binding: RoleBinding, granter: Subject, height: int
) -> None:
    """The granter may give this role, or gives of its own.

    Args:
        before: the constitution under which the granter asked.
        after: the constitution with the binding in it.
        binding: what is granted.
        granter: who proposed it.
        height: now.

    Raises:
        Refused: GRANT_EXCEEDS_GRANTER, DELEGATION_TOO_DEEP, OBJECT_UNKNOWN.
    """
    check_depth(after, binding)
    if granter.kind is not SubjectKind.HUMAN:
        raise _exceeds(binding, granter, "a human")
    if binding.parent is not None:
        for other in after.bindings:
            # What hangs on this binding may hang deeper now.
            _check_not_too_deep(after, other)
        parent = after.binding(binding.parent)
        if parent is None or parent.subject != granter.did:
            raise _exceeds(binding, granter, f"the subject of {binding.parent}")
        return
    touch = Touch(ledger_kind("Role"), "-", binding.role)
    scope = Scope(Operation.CONFIGURE, (touch,), ("-",), Risk.CONSTITUTION)
    try:
        check_may(before, granter, Verb.GRANT, scope, height)
    except Refused as refusal:
        if refusal.code is not Code.PERMISSION_DENIED:
            raise
        raise _exceeds(binding, granter, f"one who may grant {binding.role}") from None


def _exceeds(binding: RoleBinding, granter: Subject, expected: str) -> Refused:
    return Refused(
        Code.GRANT_EXCEEDS_GRANTER,
        got=f"{granter.name} grants {binding.role} to {binding.subject}",
        expected=expected,
        todo="have it proposed by somebody who may grant the role",
        object=binding.name,
    )
