"""The constitution that was in force, as far as a judgement of some subjects needs it.

Owns the reading of one version of the constitution from proven values: all of its rules, and for the subjects
asked about and for those who delegated to them their bindings, the parents of those and the roles they name.
Promises that every object is the version the constitution's record names, and that the version was in force
at the height asked about. Nothing that a judgement of other subjects would need is fetched.
Source: docs/spec/authority.md §1, ledger.md §3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from consensus.evidence import Get, optional, required, unbound
from ledger import records, statekeys
from ledger.authority.constitution import Constitution
from ledger.authority.objects import (
    RoleBinding,
    StoredObject,
    read_approval_rule,
    read_break_glass,
    read_role,
    read_role_binding,
    read_stored,
)
from ledger.records import ConstitutionRecord, ObjectVersion

T = TypeVar("T")


def record_in_force(get: Get, version: int | None, height: int) -> ConstitutionRecord:
    """Give a version of the constitution, if it was in force somewhere in the block of ``height``.

    Raises:
        VerificationFailed: LEDGER_RECORD_INVALID.
    """
    if version is None or version < 1:
        raise unbound(statekeys.CONSTITUTION, version, "the version a final proposal was executed under")
    record = _record(get, version)
    following = optional(get, statekeys.constitution_version(version + 1), records.read_constitution)
    # The block that changed it may have executed proposals before the change, and after.
    if record.height > height or (following is not None and following.height < height):
        until = "now" if following is None else str(following.height)
        raise unbound(
            statekeys.constitution_version(version),
            f"in force from {record.height} to {until}",
            f"in force at {height}",
        )
    return record


def records_at(get: Get, newest: ConstitutionRecord, height: int) -> tuple[ConstitutionRecord, ...]:
    """Give the versions up to ``newest`` that were in force in the block of ``height``, the later first.

    Raises:
        VerificationFailed: LEDGER_RECORD_INVALID.
    """
    low, high, found = 1, newest.version, newest
    while low <= high:
        middle = (low + high) // 2
        candidate = newest if middle == newest.version else _record(get, middle)
        if candidate.height <= height:
            low, found = middle + 1, candidate
        else:
            high = middle - 1
    if found.height > height:
        raise unbound(
            statekeys.constitution_version(found.version), found.height, f"one in force at {height}"
        )
    if found.height == height and found.version > 1:
        return (found, _record(get, found.version - 1))
    return (found,)


def constitution_for(
    get: Get, record: ConstitutionRecord, subjects: Iterable[str], break_glass: str | None = None
) -> Constitution:
    """Give of a version of the constitution what judging these subjects needs.

    Args:
        get: gives proven values.
        record: of the version.
        subjects: DIDs of everybody who is asked about.
        break_glass: a break-glass object that is asked about.

    Raises:
        VerificationFailed: LEDGER_RECORD_INVALID.
    """
    bindings = _bindings(get, record, frozenset(subjects))
    roles = {version.name: version for version in record.roles}
    named = sorted({binding.role for binding in bindings} & roles.keys())
    return Constitution.of(
        roles=[_object(get, "Role", roles[name], read_role) for name in named],
        bindings=bindings,
        rules=[_object(get, "ApprovalRule", version, read_approval_rule) for version in record.rules],
        break_glasses=[
            _object(get, "BreakGlass", version, read_break_glass)
            for version in record.break_glasses
            if version.name == break_glass
        ],
    )


def _bindings(get: Get, record: ConstitutionRecord, subjects: frozenset[str]) -> list[RoleBinding]:
    known = {version.name: version for version in record.bindings}
    of_subject: dict[str, list[ObjectVersion]] = {}
    for version in record.bindings:
        of_subject.setdefault(version.subject or "", []).append(version)
    pending = [version for version in record.bindings if version.subject in subjects]
    found: dict[str, RoleBinding] = {}
    while pending:
        version = pending.pop()
        if version.name in found:
            continue
        binding = _object(get, "RoleBinding", version, read_role_binding)
        if binding.subject != version.subject:
            key = statekeys.ledger_object_version("RoleBinding", version.name, version.version)
            raise unbound(key, binding.subject, version.subject)
        found[binding.name] = binding
        if binding.parent is not None and binding.parent in known:
            # What its subject is denied by another binding was not theirs to hand on.
            pending += of_subject.pop(known[binding.parent].subject or "", [known[binding.parent]])
    return list(found.values())


def _object(get: Get, kind: str, version: ObjectVersion, read: Callable[[StoredObject], T]) -> T:
    key = statekeys.ledger_object_version(kind, version.name, version.version)
    stored = required(get, key, read_stored)
    if (stored.kind, stored.name, stored.version) != (kind, version.name, version.version):
        raise unbound(key, f"{stored.kind} {stored.name} {stored.version}", f"{kind} {version.name}")
    return required(lambda _: b"", key, lambda _: read(stored))


def _record(get: Get, version: int) -> ConstitutionRecord:
    key = statekeys.constitution_version(version)
    record = required(get, key, records.read_constitution)
    if record.version != version:
        raise unbound(key, record.version, version)
    return record
