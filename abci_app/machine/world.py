"""What authority is judged against: the constitution in force, the scope of a change, what it requires.

Owns the reading of these from state. Promises that nothing remembered outlives what it was made of:
memories are keyed by bytes that name their whole content.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

from abci_app import indexes, rollouts, rules
from abci_app.check import Constants
from ledger import records, release_spec, statekeys
from ledger.authority.constitution import Constitution
from ledger.authority.objects import (
    StoredObject,
    read_approval_rule,
    read_break_glass,
    read_role,
    read_role_binding,
    read_stored,
)
from ledger.authority.requirement import Requirement, break_glass_requirement, requirement
from ledger.authority.scope import Operation, Scope, Touch, ledger_scope, release_scope
from ledger.errors import Code, Refused
from ledger.records import (
    ChangeSummary,
    ConstitutionRecord,
    ContentRecord,
    ObjectVersion,
    ReleaseRecord,
    RevisionRecord,
)
from ledger.types import JsonObject
from state.reader import StateReader


def constitution_record(state: StateReader) -> ConstitutionRecord:
    """Give the constitution's record."""
    content = state.get(statekeys.CONSTITUTION)
    assert content is not None, "a ledger without a constitution"
    return records.read_constitution(content)


def constitution_of(state: StateReader) -> Constitution:
    """Give the constitution in force."""
    content = state.get(statekeys.CONSTITUTION)
    assert content is not None, "a ledger without a constitution"
    found = _CONSTITUTIONS.get(content)
    if found is None:
        found = _load(state, records.read_constitution(content))
        if len(_CONSTITUTIONS) >= _CONSTITUTIONS_MAX:
            _CONSTITUTIONS.clear()
        # The record's digest covers everything that is loaded, so its bytes may stand for it.
        _CONSTITUTIONS[content] = found
    return found


_CONSTITUTIONS: dict[bytes, Constitution] = {}
_CONSTITUTIONS_MAX = 8


def _load(state: StateReader, record: ConstitutionRecord) -> Constitution:
    def stored(kind: str, versions: tuple[ObjectVersion, ...]) -> list[StoredObject]:
        return [existing_object(state, kind, version.name) for version in versions]

    return Constitution.of(
        roles=[read_role(o) for o in stored("Role", record.roles)],
        bindings=[read_role_binding(o) for o in stored("RoleBinding", record.bindings)],
        rules=[read_approval_rule(o) for o in stored("ApprovalRule", record.rules)],
        break_glasses=[read_break_glass(o) for o in stored("BreakGlass", record.break_glasses)],
    )


def stored_object(state: StateReader, kind: str, name: str) -> StoredObject | None:
    """Give a ledger object, or None."""
    content = state.get(statekeys.ledger_object(kind, name))
    return None if content is None else read_stored(content)


def existing_object(state: StateReader, kind: str, name: str) -> StoredObject:
    """Give a ledger object.

    Raises:
        Refused: OBJECT_UNKNOWN.
    """
    found = stored_object(state, kind, name)
    if found is None:
        raise Refused(
            Code.OBJECT_UNKNOWN,
            got=f"{kind} {name}",
            expected="an object of the ledger",
            kind=kind,
            object=name,
        )
    return found


def cluster_labels(state: StateReader) -> Mapping[str, JsonObject]:
    """Give the labels of every cluster, by name."""
    names = indexes.entries(state, statekeys.index_objects("Cluster"))
    return {name: existing_object(state, "Cluster", name).labels for name in names}


def unknown_clusters(state: StateReader, clusters: tuple[str, ...]) -> tuple[str, ...]:
    """Give those of ``clusters`` the ledger does not have."""
    return tuple(c for c in clusters if state.get(statekeys.ledger_object("Cluster", c)) is None)


def release_record(state: StateReader, name: str) -> ReleaseRecord | None:
    """Give a release's record, or None where there is no such release."""
    content = state.get(statekeys.release(name))
    return None if content is None else records.read_release(content)


def revision_record(state: StateReader, name: str, number: int) -> RevisionRecord:
    """Give a revision that exists."""
    content = state.get(statekeys.revision(name, number))
    assert content is not None, "a revision that a release names is not there"
    return records.read_revision(content)


def content_record(state: StateReader, identifier: str) -> ContentRecord:
    """Give what a release proposal holds besides its manifests; it exists."""
    content = state.get(statekeys.content(identifier))
    assert content is not None, "a content that a revision names is not there"
    return records.read_content(content)


def touches_of(content: ContentRecord) -> tuple[Touch, ...]:
    """Give what a release's content touches."""
    return tuple(Touch(touch.kind, touch.namespace, touch.name) for touch in content.touches)


def targets_of(
    state: StateReader, content: ContentRecord, named: tuple[str, ...], current: ReleaseRecord | None
) -> tuple[str, ...]:
    """Give the clusters a release goes to: those it names, or those its selector matches and it is on.

    Raises:
        Refused: TARGETS_EMPTY.
    """
    if named:
        return named
    targets = release_spec.read_targets(content.spec, "spec")
    found = rollouts.resolve_targets(targets, cluster_labels(state))
    return tuple(sorted({*found, *rules.clusters_of(current)}))


def scope_of(
    state: StateReader, identifier: str, change: ChangeSummary, content: ContentRecord | None
) -> Scope:
    """Give what a change touches, on which clusters.

    Args:
        state: now.
        identifier: of the proposal.
        change: what it changes.
        content: of a release proposal that is not in ``state`` yet.

    Raises:
        Refused: RELEASE_UNKNOWN, RELEASE_NOT_ACTIVE, REVISION_UNKNOWN, TARGETS_EMPTY.
    """
    operation = Operation(change.operation)
    if operation is Operation.CONFIGURE:
        return _ledger_scope(change.objects)
    assert change.release is not None, "a release change without a release"
    current = release_record(state, change.release)
    if operation is Operation.APPLY:
        found = content or content_record(state, identifier)
        clusters = targets_of(state, found, change.clusters, current)
        before = None if current is None else _newest_content(state, current)
        return _scope(operation, found, before, clusters)
    current = rules.check_active(current, change.release)
    newest = _newest_content(state, current)
    if change.to_revision is None:
        return _scope(operation, newest, newest, current.clusters)
    rules.check_revision(current, change.release, change.to_revision)
    source = revision_record(state, change.release, change.to_revision)
    return _scope(operation, content_record(state, source.content), newest, current.clusters)


def _newest_content(state: StateReader, current: ReleaseRecord) -> ContentRecord:
    """Give what a release is, or was last: of a deleted one clusters may hold objects still."""
    return content_record(state, revision_record(state, current.name, current.revision).content)


def _scope(
    operation: Operation, content: ContentRecord, newest: ContentRecord | None, clusters: tuple[str, ...]
) -> Scope:
    # Content records are read through a memory, so the same one is the same object.
    return _scope_of_content(operation, _ById(content), _ById(newest), clusters)


class _ById:
    """A record as a key by identity: hashing thousands of touches each time would cost more than it saves."""

    __slots__ = ("content",)

    def __init__(self, content: ContentRecord | None) -> None:
        self.content = content

    def __hash__(self) -> int:
        return id(self.content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and self.content is other.content


@functools.lru_cache(maxsize=256)
def _scope_of_content(operation: Operation, key: _ById, newest: _ById, clusters: tuple[str, ...]) -> Scope:
    assert key.content is not None, "a change of nothing"
    before = touches_of(newest.content) if newest.content is not None else ()
    return release_scope(operation, touches_of(key.content), before, clusters, host_access=key.content.host)


@functools.lru_cache(maxsize=64)
def _ledger_scope(objects: tuple[str, ...]) -> Scope:
    named = (text.split("/") for text in objects)
    return ledger_scope((kind, name) for _, kind, name in named)


def requirement_of(
    state: StateReader, scope: Scope, constants: Constants, time: int, break_glass: str | None
) -> Requirement:
    """Give what a change needs to pass now.

    Raises:
        Refused: NO_RULE_MATCHES, BREAK_GLASS_INVALID, OBJECT_UNKNOWN.
    """
    constitution, ttl = constitution_of(state), constants.parameters.proposal_ttl_blocks
    if break_glass is None:
        return requirement(constitution, scope, ttl)
    existing_object(state, "BreakGlass", break_glass)
    uses = records.read_count(state.get(statekeys.break_glass_uses(break_glass)))
    return break_glass_requirement(constitution, break_glass, scope, time=time, uses=uses, ttl_blocks=ttl)
