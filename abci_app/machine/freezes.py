"""The list of freezes, what they lie on, and the approved changes that wait for one.

Source: docs/spec/ledger.md §2, authority.md §5, releases.md §3.
"""

from __future__ import annotations

from abci_app import indexes
from abci_app.machine.context import Context
from abci_app.machine.world import content_record, release_record, revision_record
from ledger import freezing, records, statekeys
from ledger.authority.scope import Scope
from ledger.limits import AGENDA_ITEMS_PER_BLOCK_MAX
from ledger.records import DesiredState, FreezeRecord, FreezesRecord
from state.reader import StateReader

MACHINE = "machine"
"""Who made a freeze that no subject did."""
OF_MACHINE = "machine-"
"""How the names of its freezes begin, and those of no others."""
RETRY_SECONDS = 60
"""How often an approved change that meets a freeze is tried again, for it may have expired."""
_HELD = "held"


def of(state: StateReader) -> tuple[FreezeRecord, ...]:
    """Give all freezes."""
    content = state.get(statekeys.FREEZES)
    return () if content is None else records.read_freezes(content).freezes


def on_scope(state: StateReader, scope: Scope, release: str | None) -> FreezeRecord | None:
    """Give a freeze that lies on any part of a change, or None."""
    namespaces = {touch.namespace for touch in scope.touches}
    for freeze in of(state):
        if freezing.covers(freeze, release, scope.clusters, namespaces):
            return freeze
    return None


def on_release(state: StateReader, freeze: FreezeRecord, name: str) -> bool:
    """Tell whether a freeze lies on the newest revision of a release, or on what it takes the place of."""
    current = release_record(state, name)
    if current is None:
        return False
    namespaces = namespaces_of(state, name, current.revision, current.clusters)
    return freezing.covers(freeze, name, current.clusters, namespaces)


def namespaces_of(state: StateReader, name: str, number: int, clusters: tuple[str, ...]) -> set[str]:
    """Give the namespaces that making true a revision changes: its own, and of what clusters shall have.

    What is being deleted does not count: its end was decided, and comes or came at a time nobody here knows.
    """
    numbers = {number}
    for cluster in clusters:
        content = state.get(statekeys.desired(cluster, name))
        desired = None if content is None else records.read_desired(content)
        if desired is not None and desired.state is DesiredState.PRESENT:
            numbers.add(desired.revision)
    contents = {revision_record(state, name, n).content for n in numbers}
    return {touch.namespace for content in contents for touch in content_record(state, content).touches}


def add(ctx: Context, freeze: FreezeRecord) -> None:
    """Put a freeze on the list."""
    found = tuple(sorted((*of(ctx.state), freeze), key=lambda f: f.name))
    ctx.put(statekeys.FREEZES, FreezesRecord(found))
    ctx.emit("freeze", name=freeze.name, by=freeze.by, state="frozen")


def drop(ctx: Context, freeze: FreezeRecord) -> tuple[FreezeRecord, ...]:
    """Take a freeze off the list; give those left."""
    left = tuple(f for f in of(ctx.state) if f != freeze)
    ctx.put(statekeys.FREEZES, FreezesRecord(left))
    ctx.emit("freeze", name=freeze.name, by=freeze.by, state="removed")
    return left


def hold(ctx: Context, number: int) -> None:
    """Let an approved proposal wait for a freeze: it is tried again after a while, or once one is gone."""
    _schedule(ctx, ctx.time + RETRY_SECONDS, f"{number:010d}")


def try_held(ctx: Context) -> None:
    """Have what waits for a freeze tried in the next block: one was taken off.

    Looks no further than as many items of the agenda as a block works off; the rest comes in its own time.
    """
    for entry in indexes.entries(ctx.state, statekeys.AGENDA, limit=AGENDA_ITEMS_PER_BLOCK_MAX):
        _, kind, name = entry.split("/")
        if kind == _HELD:
            indexes.remove(ctx.state, statekeys.AGENDA, entry)
            _schedule(ctx, ctx.time, name)


def _schedule(ctx: Context, due: int, name: str) -> None:
    indexes.insert(ctx.state, statekeys.AGENDA, f"{due:012d}/{_HELD}/{name}")
