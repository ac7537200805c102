"""The nouns of planning: what was seen of a cluster, one decision, and all of them.

Owns the form of what goes into a plan and of what comes out. Promises nothing by itself; never decides, never
does anything.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from k8s_bridge.co_owners import Foreign
from k8s_bridge.inventory import Inventory
from k8s_bridge.objects import Identity, ObjectKey
from k8s_bridge.tenants import Held
from ledger.errors import Code, ConclaveError
from ledger.types import JsonObject


class Action(enum.StrEnum):
    """What a step does.

    ``recreate`` deletes and creates, where the release says so. ``skip``, ``conflict`` and ``refused`` do
    nothing, for the reason they carry.
    """

    CREATE = "create"
    CONFIGURE = "configure"
    RECREATE = "recreate"
    UNCHANGED = "unchanged"
    DELETE = "delete"
    SKIP = "skip"
    CONFLICT = "conflict"
    REFUSED = "refused"


WRITING = frozenset({Action.CREATE, Action.CONFIGURE, Action.RECREATE, Action.DELETE})


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of one object.

    Attributes:
        live: the object as the API server holds it; None when there is none.
        dry_run: what applying our manifest would make of it; None when not asked or refused.
        fault: why it could not be read or would not be accepted.
        held: for a namespace or a definition that could be pruned: what goes with it; None when not listed.
        foreign: what others added to it.
    """

    live: JsonObject | None = None
    dry_run: JsonObject | None = None
    fault: ConclaveError | None = None
    held: tuple[Held, ...] | None = None
    foreign: Foreign | None = None


@dataclass(frozen=True, slots=True)
class World:
    """The cluster as one plan sees it.

    Attributes:
        inventory: what the release owns; None when the record could not be read.
        observed: per desired and per recorded object.
        claims: which other release owns an identity.
    """

    inventory: Inventory | None
    observed: Mapping[ObjectKey, Observation]
    claims: Mapping[Identity, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """One decision about one object.

    Attributes:
        action: what to do.
        key: to what.
        stage: steps of a later stage wait until the earlier stage serves.
        reason: why, for people.
        code: OK, or why it is not done.
        manifest: what to apply, exactly as signed; None unless create, configure or unchanged.
        live: what was seen, if anything.
        forget: the inventory drops the object once the step is done.
        wanted: the object is desired (False for a prune decision).
        foreign: what others added to it, to be taken over before the apply.
        fault: what the API server said, where that is why it is not done.
    """

    action: Action
    key: ObjectKey
    stage: int
    reason: str
    code: Code = Code.OK
    manifest: JsonObject | None = None
    live: JsonObject | None = None
    forget: bool = False
    wanted: bool = True
    foreign: Foreign | None = None
    fault: ConclaveError | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """The decisions for one release revision, in the order they are carried out.

    Attributes:
        chain_id, release, revision, height: of what was verified.
        steps: applies in dependency order, then prunes in reverse.
        before: the inventory as read; None when unreadable.
        removal: the release was deleted.
        inventory: to be written before the first step; None when the record is unreadable and stays as it is.
    """

    chain_id: str
    release: str
    revision: int
    height: int
    steps: tuple[Step, ...]
    before: Inventory | None
    inventory: Inventory | None
    removal: bool = False

    @property
    def writes(self) -> bool:
        """Whether carrying it out would write any object."""
        return any(step.action in WRITING for step in self.steps)
