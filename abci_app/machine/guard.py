"""What one authorised person can stop at once: freeze, pause, revoke.

Promises that stopping never waits for anybody and that starting again always needs the quorum of a change,
but for a pause, which its like may end. Source: docs/spec/authority.md §3, identities.md §4.
"""

from __future__ import annotations

from abci_app import indexes
from abci_app.check import identity_of
from abci_app.machine import freezes, identities, progress
from abci_app.machine.context import Context
from abci_app.machine.world import constitution_of, content_record, release_record, revision_record
from ledger import identity as identity_rules
from ledger import shape, statekeys
from ledger.actions import Freeze, Hold, Revocation
from ledger.authority.constitution import check_may, denial_edges
from ledger.authority.objects import Verb
from ledger.authority.patterns import any_matches
from ledger.authority.scope import Operation, Risk, Scope, Touch
from ledger.errors import Code, Refused
from ledger.identity import IdentityRecord
from ledger.limits import FREEZES_OF_PEOPLE_MAX, FREEZES_PER_SUBJECT_MAX
from ledger.records import FreezeRecord
from ledger.rollout import RolloutState
from ledger.types import ActionKind


def freeze(ctx: Context, signer: IdentityRecord, wanted: Freeze) -> None:
    """Stop everything that would be applied in a scope; rollouts within it are paused.

    Raises:
        Refused: PERMISSION_DENIED, FIELD_INVALID, OBJECT_DUPLICATE, LIMIT_EXCEEDED.
    """
    constitution = constitution_of(ctx.state)
    # Deny wins: also where what is denied is but a part of what a pattern stops.
    edges = denial_edges(constitution, signer.did, Verb.FREEZE)
    namespaces, clusters = map(_with_edges, (wanted.namespaces, wanted.clusters), edges)
    touches = tuple(Touch("Freeze.conclave.internal", n, wanted.name) for n in namespaces)
    scope = Scope(Operation.CONFIGURE, touches, clusters, Risk.LOW)
    check_may(constitution, signer, Verb.FREEZE, scope, ctx.height)
    known = freezes.of(ctx.state)
    if wanted.name.startswith(freezes.OF_MACHINE):
        raise shape.invalid("name", wanted.name, f"a name that does not begin with {freezes.OF_MACHINE}")
    if any(other.name == wanted.name for other in known):
        raise Refused(
            Code.OBJECT_DUPLICATE,
            got=wanted.name,
            expected="a new name",
            todo="choose another name",
            object=wanted.name,
        )
    _check_share(known, signer.did)
    made = FreezeRecord(
        name=wanted.name,
        clusters=wanted.clusters,
        namespaces=wanted.namespaces,
        releases=wanted.releases,
        by=signer.did,
        reason=wanted.reason,
        height=ctx.height,
        time=ctx.time,
    )
    freezes.add(ctx, made)
    for name in indexes.entries(ctx.state, statekeys.INDEX_ROLLOUTS):
        if freezes.on_release(ctx.state, made, name):
            progress.pause(ctx, name, _pauser(made))


def _with_edges(patterns: tuple[str, ...], edges: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted({*patterns, *(edge for edge in edges if any_matches(patterns, edge))}))


def _check_share(known: tuple[FreezeRecord, ...], did: str) -> None:
    makers = [other.by for other in known if other.by != freezes.MACHINE]
    for got, most, whose in (
        (makers.count(did), FREEZES_PER_SUBJECT_MAX, "of one subject"),
        (len(makers), FREEZES_OF_PEOPLE_MAX, "of all subjects"),
    ):
        if got >= most:
            raise Refused(
                Code.LIMIT_EXCEEDED,
                got=got + 1,
                expected=f"at most {most} freezes {whose}",
                todo="have some removed, or freeze more by one: `*`, or a prefix that ends in `*`",
            )


def unfreeze(ctx: Context, name: str) -> None:
    """Take a freeze off; rollouts it alone paused go on, and what waited for it is tried again.

    Raises:
        Refused: OBJECT_UNKNOWN.
    """
    removed = next((f for f in freezes.of(ctx.state) if f.name == name), None)
    if removed is None:
        raise Refused(
            Code.OBJECT_UNKNOWN,
            got=f"Freeze {name}",
            expected="a freeze of the ledger",
            kind="Freeze",
            object=name,
        )
    left = freezes.drop(ctx, removed)
    freezes.try_held(ctx)
    for release in indexes.entries(ctx.state, statekeys.INDEX_ROLLOUTS):
        if not freezes.on_release(ctx.state, removed, release):
            continue
        progress.resume(ctx, release, _pauser(removed))
        # One that was not paused, but could not start what was frozen, has nothing else to wake it.
        progress.step(ctx, release)
        for other in left:
            if freezes.on_release(ctx.state, other, release):
                progress.pause(ctx, release, _pauser(other))


def hold(ctx: Context, signer: IdentityRecord, wanted: Hold) -> None:
    """Pause a release's rollout, or let one go on that a person paused.

    Raises:
        Refused: RELEASE_UNKNOWN, PERMISSION_DENIED, ROLLOUT_STATE_CONFLICT.
    """
    rollout = progress.existing(ctx.state, wanted.release)
    release = release_record(ctx.state, wanted.release)
    assert release is not None, "a rollout without a release"
    content = content_record(ctx.state, revision_record(ctx.state, release.name, release.revision).content)
    touch = Touch("Release.conclave.internal", content.namespace, release.name)
    scope = Scope(Operation.APPLY, (touch,), release.clusters, Risk.LOW)
    check_may(constitution_of(ctx.state), signer, Verb.PAUSE, scope, ctx.height)
    pausing = wanted.kind is ActionKind.PAUSE
    allowed = RolloutState.PROGRESSING if pausing else RolloutState.PAUSED
    frozen = rollout.paused_by is not None and rollout.paused_by.startswith("freeze/")
    if rollout.state is not allowed or (frozen and not pausing):
        raise Refused(
            Code.ROLLOUT_STATE_CONFLICT,
            got=f"{rollout.state.value}, by {rollout.paused_by}" if frozen else rollout.state.value,
            expected=allowed.value,
            todo="have the freeze removed" if frozen else "see `conclave status`",
            release=release.name,
        )
    if pausing:
        progress.pause(ctx, release.name, signer.did)
    else:
        progress.resume(ctx, release.name, str(rollout.paused_by))


def revoke(ctx: Context, signer: IdentityRecord, wanted: Revocation) -> None:
    """End keys of a subject at once.

    Raises:
        Refused: SIGNER_UNKNOWN, PERMISSION_DENIED, REVOCATION_WITHOUT_EFFECT, LOCKOUT.
    """
    subject = identity_of(ctx.state, wanted.subject)
    if subject.did != signer.did:
        touch = Touch("Identity.conclave.internal", "-", subject.name)
        scope = Scope(Operation.CONFIGURE, (touch,), ("-",), Risk.LOW)
        check_may(constitution_of(ctx.state), signer, Verb.REVOKE, scope, ctx.height)
    changed = identity_rules.revoke(subject, wanted.key_ids, ctx.height)
    identities.write(ctx, changed, cause="revocation")
    identities.check_not_locked_out(ctx)


def _pauser(made: FreezeRecord) -> str:
    return f"freeze/{made.name}"
