"""The story in ten chapters, each a list of checks that can fail.

Owns what is shown and in which order. ``tell`` tells it up to any chapter, so that tests show each by itself.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

from conclave.demo.crash import a_validator_dies
from conclave.demo.refusals import refusals
from conclave.demo.stage import BRIDGE_NAMESPACE, CLUSTER, Stage
from k8s_bridge.connection import connect
from ledger.errors import Code
from ledger.types import JsonObject

Chapter = tuple[str, Callable[[Stage], None]]


def tell(stage: Stage, upto: int | None = None, after: int = 0) -> None:
    """Tell chapters ``after`` + 1 … ``upto`` (all by default).

    Raises:
        DemoFailed: a check did not hold.
    """
    for number, (title, chapter) in enumerate(CHAPTERS[:upto], start=1):
        if number > after:
            stage.narrator.chapter(number, title)
            chapter(stage)


def clean_up(stage: Stage) -> None:
    """Leave nothing: stop what runs, and on a cluster that was there before remove what was made on it."""
    if (stage.home / "ledger.json").exists():
        stage.quietly("down")
    if stage.cluster is not None:
        if stage.kubeconfig is not None:
            _remove_from(stage)
        stage.cluster.close()
    shutil.rmtree(stage.home, ignore_errors=True)


def _remove_from(stage: Stage) -> None:
    inventory = ("ConfigMap", "conclave-inventory-guestbook", BRIDGE_NAMESPACE)
    if stage.look(*inventory) is not None:
        stage.by_hand("delete", "ConfigMap", inventory[1], namespace=BRIDGE_NAMESPACE)
    for namespace in stage.made:
        if stage.look("Namespace", namespace) is not None:
            stage.by_hand("delete", "Namespace", namespace)
    stage.until("namespaces gone", lambda: all(stage.look("Namespace", n) is None for n in stage.made))


def a_ledger_is_made(stage: Stage) -> None:
    """1. Keys, genesis, four validators, one rule, one cluster."""
    made = stage.conclave("init")
    tell_of = stage.narrator
    tell_of.say(f"chain {made['chainId']} in {stage.home}")
    nodes = sorted((stage.home / "nodes").iterdir())
    tell_of.check(len(nodes) == 4, "four validators have keys and one genesis")
    keys = {path.stem for path in (stage.home / "keys").iterdir()}
    tell_of.check(
        {"alice", "bob", "carol", "scout", f"bridge-{CLUSTER}"} <= keys,
        "alice and bob (organisation A), carol (B), the agent scout and the bridge have keys",
    )
    modes = {path.stat().st_mode & 0o077 for path in (stage.home / "keys").iterdir()}
    tell_of.check(modes == {0}, "nobody else can read a key")


def everything_starts(stage: Stage) -> None:
    """2. Four validators (CometBFT and application), a Kubernetes API server, a bridge."""
    if stage.kubeconfig:
        stage.cluster = connect(str(stage.kubeconfig), {})
        stage.made = [n for n in (stage.namespace, BRIDGE_NAMESPACE) if stage.look("Namespace", n) is None]
        stage.cluster.close()
    up = stage.conclave("up", *stage.cluster_options())
    running = up["running"]
    expected = {f"node-{i}" for i in range(4)} | {f"bridge-{CLUSTER}"}
    stage.narrator.check(expected <= set(running), f"running: {', '.join(running)}")
    stage.cluster = connect(up["kubeconfigs"][CLUSTER], {})
    version = stage.cluster.ask("get", "/version")[1]["gitVersion"]
    stage.narrator.check(bool(version), f"a real Kubernetes API server answers: {version}")


def a_release_is_proposed(stage: Stage) -> None:
    """3. Ordinary YAML: diffed, rendered, canonicalised, signed, sent; a proven receipt comes back."""
    diff = stage.conclave("diff", *stage.source("guestbook"))
    stage.narrator.check(
        len(diff["changes"]) >= 5 and all(c["change"] == "added" for c in diff["changes"]),
        f"diff: {len(diff['changes'])} objects would be added",
    )
    _propose(stage, "guestbook", 1)


def one_approval_is_not_enough(stage: Stage) -> None:
    """4. One approval is final on the ledger, but nothing is applied."""
    answer = stage.conclave("approve", "1", "--as", "bob")
    stage.narrator.check(answer["state"] == "open", "bob's approval is final; the proposal is still open")
    verdict = stage.conclave("verify", "proposal", "1", status=1)
    stage.narrator.check(
        verdict["error"]["code"] == Code.PROPOSAL_UNDER_APPROVED, "verify: PROPOSAL_UNDER_APPROVED"
    )
    time.sleep(1.0)
    stage.narrator.check(stage.look("Namespace", stage.namespace) is None, "the cluster has nothing of it")


def the_second_approval_releases(stage: Stage) -> None:
    """5. The second organisation approves: final; the bridge verifies everything itself and applies."""
    _approve_last(stage, 1, 1)
    for kind, name in (
        ("ConfigMap", "guestbook-config"),
        ("Deployment", "frontend"),
        ("Service", "frontend"),
    ):
        stage.narrator.check(stage.look(kind, name) is not None, f"{kind} {name} is on the cluster")
    _wait_healthy(stage, 1)
    verified = stage.conclave("verify", "release", "guestbook")
    for step in verified["steps"]:
        stage.narrator.check(step["holds"], step["step"])


def an_upgrade(stage: Stage) -> None:
    """6. Changed objects are patched, removed ones pruned, unchanged ones not touched."""
    unchanged = ("Service", "redis-leader")
    before = stage.look(*unchanged)
    proposed = _propose(stage, "guestbook-v2", 2)
    kinds = {change["change"] for change in proposed["changes"]}
    stage.narrator.check(
        {"added", "changed", "removed", "unchanged"} <= kinds, "some added, changed, removed, unchanged"
    )
    stage.conclave("approve", "2", "--as", "bob")
    _approve_last(stage, 2, 2)
    frontend = stage.look("Deployment", "frontend") or {}
    stage.narrator.check(frontend["spec"]["replicas"] == 3, "the changed Deployment has three replicas now")
    stage.until("pruned", lambda: stage.look("Deployment", "redis-follower") is None)
    stage.narrator.check(True, "the removed Deployment is gone")
    stage.narrator.check(
        _version(before) == _version(stage.look(*unchanged)), "the unchanged Service kept its resourceVersion"
    )


def drift_is_undone(stage: Stage) -> None:
    """7. A hand edit is undone; a foreign object in the namespace is left alone."""
    foreign = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "foreign"},
        "data": {"of": "somebody"},
    }
    stage.by_hand("post", "ConfigMap", "foreign", foreign)
    stage.by_hand("patch", "Deployment", "frontend", {"spec": {"replicas": 1}})
    stage.narrator.say("somebody scales the frontend to one replica by hand, and adds a ConfigMap")

    def restored() -> bool:
        return bool((stage.look("Deployment", "frontend") or {})["spec"]["replicas"] == 3)

    seconds = stage.until("the hand edit undone", restored)
    stage.narrator.repairs.append(("a hand edit, until it is undone", seconds))
    stage.narrator.check(True, f"three replicas again after {seconds:.2f} s")
    stage.by_hand("delete", "ConfigMap", "guestbook-config")
    seconds = stage.until(
        "the deleted object restored", lambda: stage.look("ConfigMap", "guestbook-config") is not None
    )
    stage.narrator.check(True, f"a deleted ConfigMap is back after {seconds:.2f} s")
    stage.narrator.check(stage.look("ConfigMap", "foreign") is not None, "the foreign ConfigMap is untouched")


def a_rollback(stage: Stage) -> None:
    """10. The first revision comes back as a new forward revision, through the same approvals."""
    newest = stage.quietly("history", "guestbook")["items"][0]["revision"]
    stage.proposed_at = time.time()
    answer = stage.conclave("rollback", "guestbook", "--to", "1", "--as", "alice")
    number = str(answer["number"])
    stage.conclave("approve", number, "--as", "bob")
    _approve_last(stage, answer["number"], newest + 1)
    frontend = stage.look("Deployment", "frontend") or {}
    stage.narrator.check(frontend["spec"]["replicas"] == 2, "the frontend has its first two replicas again")
    stage.narrator.check(
        stage.look("Deployment", "redis-follower") is not None, "the pruned Deployment is back"
    )
    history = stage.conclave("history", "guestbook")["items"]
    stage.narrator.check(
        history[0]["rollbackOf"] == 1 and history[0]["revision"] == newest + 1,
        f"history: revision {newest + 1} is a rollback to 1; nothing was rewritten",
    )
    _wait_healthy(stage, newest + 1)


def _propose(stage: Stage, source: str, number: int) -> JsonObject:
    stage.proposed_at = time.time()
    answer = stage.conclave("propose", *stage.source(source), "--as", "alice")
    stage.narrator.check(answer["number"] == number, f"proposal {number}: {answer['proposal'][:16]}…, proven")
    return answer


def _approve_last(stage: Stage, number: int, revision: int) -> None:
    """Give the last approval and wait for the bridge."""
    answer = stage.conclave("approve", str(number), "--as", "carol")
    stage.narrator.check(
        answer["state"] == "final" and answer["revision"] == revision,
        f"carol's approval makes it final: revision {revision}",
    )
    stage.wait_applied(revision)
    seconds = stage.measure(f"guestbook revision {revision}", revision, answer["height"])
    stage.narrator.check(True, f"the bridge verified and applied it {seconds:.2f} s after it was final")


def _wait_healthy(stage: Stage, revision: int) -> None:
    def healthy() -> bool:
        items = stage.quietly("status")["items"]
        return any(i["appliedRevision"] == revision and i["health"] == "current" for i in items)

    stage.until("the release is healthy", healthy)
    item = stage.conclave("status")["items"][0]
    shown = f"revision {item['appliedRevision']} {item['outcome']}, {item['health']}"
    stage.narrator.check(
        item["outcome"] == "applied", f"status: {shown}, reported at height {item['reportHeight']}"
    )


def _version(found: JsonObject | None) -> str:
    return str((found or {}).get("metadata", {}).get("resourceVersion"))


CHAPTERS: tuple[Chapter, ...] = (
    ("A ledger is made", a_ledger_is_made),
    ("Everything starts", everything_starts),
    ("A release is proposed", a_release_is_proposed),
    ("One approval is not enough", one_approval_is_not_enough),
    ("The second approval releases", the_second_approval_releases),
    ("An upgrade", an_upgrade),
    ("Drift is undone", drift_is_undone),
    ("Refusals", refusals),
    ("A validator dies", a_validator_dies),
    ("A rollback", a_rollback),
)
