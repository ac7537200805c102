"""Which release an object of a cluster belongs to.

Owns the index from an object to the releases that claim it. Promises that no two releases claim one object
on one cluster: a change that would is refused when it is proposed and again when it is executed. A release
claims the objects of its newest revision and of its newest healthy one, to which the machine may go back.
Source: docs/spec/releases.md §7.
"""

from __future__ import annotations

from collections.abc import Iterable

from abci_app.machine.context import Context
from abci_app.machine.world import content_record, release_record, revision_record, touches_of
from ledger import records, statekeys
from ledger.authority.patterns import LEDGER_GROUP
from ledger.authority.scope import Touch
from ledger.errors import Code, Refused
from ledger.limits import CLAIMS_PER_OBJECT_MAX
from ledger.records import ClaimRecord, ReleaseRecord, ReleaseState
from state.reader import StateReader


def check(state: StateReader, name: str, touches: Iterable[Touch], clusters: Iterable[str]) -> None:
    """Check that no other release claims any of these objects on any of these clusters.

    Raises:
        Refused: OBJECT_CLAIMED; LIMIT_EXCEEDED where too many releases claim an object.
    """
    wanted, elsewhere = frozenset(clusters), {name: frozenset[str]()}
    for touch in touches:
        if touch.kind.endswith(LEDGER_GROUP):
            continue
        holders = _holders(state, touch)
        if name not in holders and len(holders) >= CLAIMS_PER_OBJECT_MAX:
            got, most = f"{len(holders) + 1} releases", f"at most {CLAIMS_PER_OBJECT_MAX}"
            raise Refused(Code.LIMIT_EXCEEDED, got=got, expected=most, object=_named(touch))
        for holder in holders:
            if holder not in elsewhere:
                record = release_record(state, holder)
                elsewhere[holder] = frozenset(record.clusters if record else ())
            shared = elsewhere[holder] & wanted
            if shared:
                raise Refused(
                    Code.OBJECT_CLAIMED,
                    got=f"{_named(touch)} on {min(shared)}",
                    expected=f"an object that no other release has: it belongs to {holder}",
                    todo="remove it from one of the releases",
                    object=_named(touch),
                    release=holder,
                    cluster=min(shared),
                )


def follow(ctx: Context, before: ReleaseRecord | None, after: ReleaseRecord) -> None:
    """Bring the index from what a release claimed ``before`` to what it claims now."""
    old, new = _contents(ctx.state, before), _contents(ctx.state, after)
    if old == new:
        return
    had, has = _touches(ctx.state, old), _touches(ctx.state, new)
    for touch in sorted(had ^ has):
        holders = {*_holders(ctx.state, touch)} - {after.name}
        holders |= {after.name} if touch in has else set()
        key = statekeys.claim(*touch)
        if holders:
            ctx.put(key, ClaimRecord(tuple(sorted(holders))))
        else:
            ctx.state.delete(key)


def _contents(state: StateReader, release: ReleaseRecord | None) -> frozenset[str]:
    """Give the proposals that carry what a release claims."""
    if release is None or release.state is ReleaseState.DELETED:
        return frozenset()
    numbers = {release.revision, release.healthy or release.revision}
    return frozenset(revision_record(state, release.name, number).content for number in numbers)


def _touches(state: StateReader, contents: Iterable[str]) -> set[Touch]:
    return {
        touch
        for content in contents
        for touch in touches_of(content_record(state, content))
        if not touch.kind.endswith(LEDGER_GROUP)
    }


def _holders(state: StateReader, touch: Touch) -> tuple[str, ...]:
    content = state.get(statekeys.claim(*touch))
    return () if content is None else records.read_claim(content).releases


def _named(touch: Touch) -> str:
    return f"{touch.kind}/{touch.namespace}/{touch.name}"
