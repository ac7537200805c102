"""What a bridge campaign releases: contents drawn from a seed, and the way they take through the ledger.

Owns three releases: ``shop`` (workloads in a namespace that stays), ``tools`` (a definition with its objects
and cluster-scoped objects) and ``edge`` (namespaces that come and go). Promises that what is drawn can be
applied, and that a lost answer is not taken for a failure: what is final is read from the ledger.
"""

from __future__ import annotations

import copy
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from consensus import release_reader
from consensus.reader import View
from k8s_bridge.objects import key_of
from ledger.errors import ConclaveError
from ledger.records import DesiredState
from ledger.types import API_VERSION, JsonObject
from tests.support.manifests import config_map, definition, deployment, namespace_object, service, widget

GROUP = "shop.test"
RELEASES = ("shop", "tools", "edge")
EXTRA = "edge-extra"
TRIES_S = 180.0
_ONCE_MORE = frozenset({3, 4})
"""Exit statuses of what may pass by itself: what is read does not verify now, or cannot be reached."""
PAUSE_S = 0.3
_RBAC = "rbac.authorization.k8s.io"

Drawn = Callable[[random.Random], JsonObject]


def _text(chance: random.Random) -> str:
    return f"{chance.randrange(1 << 20):x}"


def _data(name: str, namespace: str) -> Drawn:
    return lambda chance: config_map(name, namespace, key=_text(chance), more=_text(chance))


def _workload(name: str) -> Drawn:
    def drawn(chance: random.Random) -> JsonObject:
        made = deployment(name, "shop", replicas=chance.choice([0, 1, 2]))
        (container,) = made["spec"]["template"]["spec"]["containers"]
        container["env"] = [{"name": "OURS", "value": _text(chance)}]
        return made

    return drawn


def _role(kind: str, name: str, namespace: str = "") -> Drawn:
    def drawn(chance: random.Random) -> JsonObject:
        metadata: JsonObject = {"name": name, "labels": {"text": _text(chance)}}
        if namespace:
            metadata["namespace"] = namespace
        verbs = chance.sample(["get", "list", "watch"], k=2)
        rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs}]
        return {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": metadata, "rules": rules}

    return drawn


def _definition(chance: random.Random) -> JsonObject:
    made = definition("Widget", GROUP)
    made["metadata"]["annotations"] = {"text": _text(chance)}
    return made


def _widget(name: str) -> Drawn:
    return lambda chance: widget(name, "tools", chance.randrange(99))


def _room(name: str) -> Drawn:
    def drawn(chance: random.Random) -> JsonObject:
        return {**namespace_object(name), "metadata": {"name": name, "labels": {"text": _text(chance)}}}

    return drawn


def _account(chance: random.Random) -> JsonObject:
    metadata = {"name": "web", "namespace": "shop", "labels": {"text": _text(chance)}}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


POOL: dict[str, dict[str, Drawn]] = {
    "shop": {
        "room": lambda chance: namespace_object("shop"),
        **{f"settings-{n}": _data(f"settings-{n}", "shop") for n in range(4)},
        "web": _workload("web"),
        "api": _workload("api"),
        "door": lambda chance: service("web", "shop", port=chance.randrange(80, 90)),
        "account": _account,
        "role": _role("Role", "reader", "shop"),
    },
    "tools": {
        "room": _room("tools"),
        "definition": _definition,
        **{f"widget-{n}": _widget(f"w{n}") for n in range(3)},
        "reader": _role("ClusterRole", "tools-reader"),
        "writer": _role("ClusterRole", "tools-writer"),
        "notes": _data("notes", "tools"),
    },
    "edge": {
        "room": lambda chance: namespace_object("edge"),
        **{f"page-{n}": _data(f"page-{n}", "edge") for n in range(3)},
        "extra": _room(EXTRA),
        "inside": _data("inside", EXTRA),
    },
}
"""By release, the objects it may have."""
_NEEDS = {"widget-0": "definition", "widget-1": "definition", "widget-2": "definition", "inside": "extra"}
"""What an object cannot be without; ``room`` is in every release."""


def draw(chance: random.Random, release: str, before: dict[str, JsonObject]) -> dict[str, JsonObject]:
    """Draw the next content of a release: a few objects added, changed or left out."""
    pool, made = POOL[release], copy.deepcopy(before)
    for part in chance.sample(sorted(pool), k=chance.randint(1, min(4, len(pool)))):
        if part in made and part != "room" and chance.random() < 0.5:
            del made[part]
        else:
            made[part] = pool[part](chance)
    made.setdefault("room", pool["room"](chance))
    return {part: manifest for part, manifest in made.items() if _NEEDS.get(part, "room") in made}


@dataclass(frozen=True, slots=True)
class Standing:
    """A release on the ledger: its newest revision and, part by part, what the cluster shall have of it."""

    revision: int = 0
    content: dict[str, JsonObject] = field(default_factory=dict)


class Releases:
    """The ledger as the campaign's people drive it; for one thread at a time.

    Args:
        conclave: runs ``conclave`` and gives exit status and answer.
        view: gives the newest proven state.
        folder: for the sources.
    """

    def __init__(
        self, conclave: Callable[..., tuple[int, JsonObject]], view: Callable[[], View], folder: Path
    ) -> None:
        self._conclave, self._view, self._folder = conclave, view, folder
        self.made: dict[tuple[str, int], list[JsonObject]] = {}
        """What was proposed as a revision that became final, where its answer came."""
        self.refused: list[str] = []

    def act(self, chance: random.Random) -> str:
        """Release, roll back or delete something; gives what was done."""
        name = chance.choices(RELEASES, [4, 3, 2])[0]
        standing = self._patient(lambda: self.standing(name))
        what = chance.choices(["change", "rollback", "delete"], [7, 2, 1])[0]
        if what == "delete" and standing.content and name != "shop":
            return f"{name} deleted: {self._pass('delete', name, '--prune')}"
        if what == "rollback" and standing.content and standing.revision > 1:
            target = chance.randrange(1, standing.revision)
            return f"{name} back to {target}: {self._pass('rollback', name, '--to', str(target))}"
        content = draw(chance, name, standing.content)
        return self.change(name, list(content.values()))

    def change(self, name: str, content: list[JsonObject]) -> str:
        """Release a content."""
        source = self._folder / name
        source.mkdir(exist_ok=True)
        spec = {"source": {"path": "manifests.json"}, "namespace": name, "clusters": ["east"]}
        release = {"apiVersion": API_VERSION, "kind": "Release", "metadata": {"name": name}, "spec": spec}
        (source / "release.yaml").write_text(json.dumps(release))
        listed = {"apiVersion": "v1", "kind": "List", "items": content}
        (source / "manifests.json").write_text(json.dumps(listed))
        revision = self._pass("propose", str(source))
        if revision is not None:
            self.made[name, revision] = content
        return f"{name} of {[manifest['metadata']['name'] for manifest in content]}: {revision}"

    def standing(self, name: str) -> Standing:
        """Read how a release stands."""
        view = self._view()
        if name not in release_reader.all_releases(view).value:
            return Standing()
        newest = release_reader.release_record(view, name).value.revision
        wanted = release_reader.release(view, "east", name, revision=newest).value
        if wanted.state is DesiredState.DELETED:
            return Standing(newest)
        return Standing(newest, {part_of(name, manifest): manifest for manifest in wanted.manifests})

    def _pass(self, *arguments: str) -> int | None:
        """Propose and approve; gives the revision, None where it was refused or the answer is not known."""
        proposed = self._ask(*arguments, "--as", "alice")
        if "number" not in proposed:
            self.refused.append(f"{arguments}: {proposed}")
            return None
        number = str(proposed["number"])
        self._ask("approve", number, "--as", "bob")
        revision = self._ask("approve", number, "--as", "carol").get("revision")
        return int(revision) if revision else None

    def _ask(self, *arguments: str) -> Any:
        """Ask until there is an answer that is not the surroundings' fault."""
        end = time.monotonic() + TRIES_S
        while True:
            status, answer = self._conclave(*arguments)
            if status not in _ONCE_MORE or time.monotonic() > end:
                return answer
            time.sleep(PAUSE_S)

    @staticmethod
    def _patient(read: Callable[[], Standing]) -> Standing:
        """Read until the nodes that were killed are back."""
        end = time.monotonic() + TRIES_S
        while True:
            try:
                return read()
            except ConclaveError:
                if time.monotonic() > end:
                    raise
            time.sleep(PAUSE_S)


def part_of(release: str, manifest: JsonObject) -> str:
    """Name the part of a release that a manifest is."""
    for part, drawn in POOL[release].items():
        if key_of(drawn(random.Random(0))) == key_of(manifest):  # noqa: S311
            return part
    raise AssertionError(key_of(manifest))
