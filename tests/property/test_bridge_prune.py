"""Pruning in random worlds: containers leave releases while others put, replace and own what is in them."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.verified import Verified
from k8s_bridge.desired import desired_of
from k8s_bridge.objects import Identity, key_of, uid_of
from k8s_bridge.plan import Action
from ledger.records import DesiredState
from ledger.release import ReleaseRevision
from ledger.types import JsonObject
from tests.support.fake_cluster import FakeCluster
from tests.support.manifests import config_map, definition, deployment, namespace_object, service, widget
from tests.support.pipeline import make_plan, reconcile
from tests.support.verified import release, verified

STAY = config_map("stay", "base")
SPACES = ("extra", "tools")
KINDS = (("Widget", "shop.test"), ("Namespace", "bus.test"), ("Lease", "rent.test"), ("Event", "news.test"))
CONTAINERS = [*map(namespace_object, SPACES), *(definition(kind, group) for kind, group in KINDS)]


def _custom(kind: str, group: str, name: str, namespace: str, size: int = 1) -> JsonObject:
    return {**widget(name, namespace, size), "apiVersion": f"{group}/v1", "kind": kind}


def _made(name: str, namespace: str, size: int = 1) -> list[JsonObject]:
    """Give one object of each kind."""
    return [
        config_map(name, namespace, size=str(size)),
        *(_custom(kind, group, name, namespace, size) for kind, group in KINDS),
    ]


ELSEWHERE = "uid-of-a-cluster-scoped-object"
OBJECTS = [
    *(made for space in (*SPACES, "base") for name in ("a", "b") for made in _made(name, space)),
    *(made for space in SPACES for made in (service("a", space), deployment("a", space))),
]
_BY_IDENTITY = {key_of(manifest).identity: manifest for manifest in CONTAINERS}


def _containers_of(manifest: JsonObject) -> list[JsonObject]:
    """Give what an object stands on, of what a release may have."""
    key = key_of(manifest)
    plural = f"{key.kind.lower()}s.{key.group}"
    stands_on = [
        ("", "Namespace", "", key.namespace),
        ("apiextensions.k8s.io", "CustomResourceDefinition", "", plural),
    ]
    return [_BY_IDENTITY[identity] for identity in stands_on if identity in _BY_IDENTITY]


def _release_of(
    objects: list[JsonObject], more: list[JsonObject], stay: JsonObject = STAY
) -> list[JsonObject]:
    """Give objects with what they stand on, and ``more``; never nothing."""
    found = [*more, *(c for made in objects for c in _containers_of(made)), *objects, stay]
    return list({key_of(manifest): manifest for manifest in found}.values())


wanted = st.builds(
    _release_of,
    st.lists(st.sampled_from(OBJECTS), max_size=5),
    st.lists(st.sampled_from(CONTAINERS), max_size=3),
)


rivals = st.lists(st.sampled_from(OBJECTS), max_size=2).map(
    lambda objects: _release_of(objects, [], config_map("stay-too", "base"))
)


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody else does: ``what`` to the object at ``where``, owned by the objects at ``owners``."""

    what: str
    where: int
    owners: tuple[int, ...]


deeds = st.lists(
    st.builds(
        Deed,
        st.sampled_from(["make", "make", "replace", "claim", "own"]),
        st.integers(0, 60),
        st.lists(st.integers(-1, 12), max_size=2).map(tuple),
    ),
    max_size=6,
)


@dataclass(slots=True)
class Others:
    """Other people, and what is theirs: by UID, its owners; and every object as they left it."""

    cluster: FakeCluster
    owners: dict[str, tuple[str, ...]] = field(default_factory=dict)
    left: dict[Identity, JsonObject] = field(default_factory=dict)

    def do(self, deed: Deed) -> None:
        """Do one thing, where the cluster has what that takes."""
        if deed.what in {"make", "own"}:
            pool = [made for name in ("a", "z") for space in SPACES for made in _made(name, space, 9)]
            manifest = copy.deepcopy(pool[deed.where % len(pool)])
            if key_of(manifest).identity in self.cluster.objects or not self._stands(manifest):
                return
        else:
            present = sorted(identity for identity in self.cluster.content() if identity[2])
            if not present:
                return
            manifest = copy.deepcopy(self.cluster.objects[present[deed.where % len(present)]])
            if deed.what == "replace":
                self.cluster.remove(key_of(manifest))
        manifest["metadata"] = {n: manifest["metadata"][n] for n in ("name", "namespace")}
        owners = self._owners(deed) if deed.what == "own" else ()
        if owners:
            manifest["metadata"]["ownerReferences"] = [{"uid": uid} for uid in owners]
        live = self.cluster.put(manifest, "operator")
        if deed.what == "claim":
            theirs = {"manager": "operator", "operation": "Update", "fieldsV1": {}}
            live["metadata"]["managedFields"] = [theirs]
        self.owners[uid_of(live)] = owners
        self.left[key_of(live).identity] = copy.deepcopy(live)

    def _stands(self, manifest: JsonObject) -> bool:
        stands_on = {key_of(container).identity for container in _containers_of(manifest)}
        return stands_on <= self.cluster.objects.keys()

    def _owners(self, deed: Deed) -> tuple[str, ...]:
        uids = sorted(uid_of(live) for live in self.cluster.content().values())
        found = [uids[which % len(uids)] if which >= 0 else ELSEWHERE for which in deed.owners]
        return tuple(found) or (ELSEWHERE,)

    def yield_to_us(self, identity: Identity) -> None:
        """Count an object of theirs as ours from here on."""
        live = self.left.pop(identity, None)
        self.owners.pop(uid_of(live), None)

    def lost(self, ours: set[str]) -> list[Identity]:
        """Name what is gone and was not lawfully taken along by objects of ours that are gone.

        ``ours`` are the UIDs of what the bridge had made, whatever became of it.
        """
        there = {uid_of(live) for live in self.cluster.objects.values()}

        def lawful(uid: str, path: tuple[str, ...]) -> bool:
            if uid in there or uid in path:
                return False
            if uid not in self.owners:
                return uid in ours
            named = self.owners[uid]
            return bool(named) and all(lawful(owner, (*path, uid)) for owner in named)

        return [
            identity
            for identity, live in self.left.items()
            if uid_of(live) not in there and not lawful(uid_of(live), ())
        ]


def _ended(manifests: list[JsonObject]) -> Verified[ReleaseRevision]:
    last = release(manifests, revision=3).value
    return verified(dataclasses.replace(last, state=DesiredState.DELETED, prune=True))


def _recorded(cluster: FakeCluster, revision: Verified[ReleaseRevision]) -> set[Identity]:
    before = make_plan(cluster, revision).before
    return set(before.entries) if before is not None else set()


@pytest.mark.requires("bridge.container-kept", "bridge.foreign-untouched")
@settings(max_examples=250, deadline=None)
@given(wanted, wanted, rivals, deeds, st.lists(st.sampled_from(OBJECTS[:12]), max_size=2))
def test_nothing_of_others_goes_whatever_leaves_a_release(
    first: list[JsonObject],
    second: list[JsonObject],
    second_release: list[JsonObject],
    done: list[Deed],
    early: list[JsonObject],
) -> None:
    cluster = FakeCluster()
    cluster.put(namespace_object("base"))
    others = Others(cluster)
    if early:
        # Somebody else's definitions, and objects under names that a release will want.
        for container in (c for manifest in early for c in _containers_of(manifest)):
            cluster.put(container, "operator")
        for manifest in early:
            live = cluster.put(manifest, "operator")
            others.owners[uid_of(live)] = ()
            others.left[key_of(live).identity] = copy.deepcopy(live)
    reconcile(cluster, release(first))
    reconcile(cluster, release(second_release, name="rival"))
    ours = {uid_of(live) for i, live in cluster.content().items() if i not in others.left}
    for deed in done:
        others.do(deed)
    for revision in (release(second, revision=2), _ended(second)):
        recorded = _recorded(cluster, revision)
        steps = make_plan(cluster, revision).steps
        gone = {uid_of(step.live) for step in steps if step.action is Action.DELETE}
        assert not gone & others.owners.keys()
        reconcile(cluster, revision)
        # What took a recorded name, and is wanted there, was drift; it is ours now.
        for identity in recorded & desired_of(revision).identities:
            others.yield_to_us(identity)
        ours |= {uid_of(live) for i, live in cluster.content().items() if i not in others.left}
        assert others.lost(ours) == []
        there = {identity: live for identity, live in others.left.items() if identity in cluster.objects}
        assert {identity: cluster.objects[identity] for identity in there} == there


@pytest.mark.requires("bridge.upgrade", "bridge.deleted")
@settings(max_examples=60, deadline=None)
@given(wanted, wanted)
def test_every_container_goes_where_nobody_else_has_anything_in_it(
    first: list[JsonObject], second: list[JsonObject]
) -> None:
    cluster = FakeCluster()
    base = cluster.put(namespace_object("base"))
    reconcile(cluster, release(first))
    reconcile(cluster, release(second, revision=2))
    left = {key_of(base).identity}
    assert cluster.content().keys() == {key_of(manifest).identity for manifest in second} | left
    reconcile(cluster, _ended(second))
    assert cluster.content().keys() == left
