"""What a proposal would reach, and whether its agent's policy covers all of that.

Owns the comparison of a release as it was signed with what is proposed in its place, and the judgement of the
result. Promises that a proposal is judged by what becomes of it, not by how it was asked for: its clusters,
and every object that is added, changed or removed. What no rule names is refused. Pure.
Source: docs/spec/mcp-guard.md §2.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ledger import canonical, manifest
from ledger.agent_policy import ToolPolicy
from ledger.agent_rules import ArgumentRule, ObjectsRule
from ledger.authority.patterns import NONE, any_matches, kind_matches
from ledger.authority.scope import Touch, kind_of_manifest
from ledger.changes import Release
from ledger.types import JsonObject
from mcp_server.guard.arguments import check_value, not_allowed

JUDGED = ("clusters[]", "images[].image", "namespace", "objects", "release")
"""Paths of the rules that a proposal's reach is judged by."""
_RESULT = "proposal"


@dataclass(frozen=True, slots=True)
class Reach:
    """What a proposal of a release would reach.

    Attributes:
        clusters: where the release is and where it would be; ``-`` where labels choose them.
        objects: every object that would be another, be new or be gone.
        images: of these objects, those that the same object did not have before.
    """

    release: str
    namespace: str
    clusters: tuple[str, ...]
    objects: tuple[Touch, ...]
    images: tuple[str, ...]


def reach_of(old: Release | None, new: Release, clusters: Iterable[str]) -> Reach:
    """Compare a release with what shall be in its place.

    Args:
        old: its newest content, as signed; None where there is none.
        new: the content that is proposed.
        clusters: where the ledger has the release.
    """
    before = {manifest.identity(each): each for each in old.manifests} if old is not None else {}
    after = {manifest.identity(each): each for each in new.manifests}
    # Another target, rollout or rule of health concerns every object of the release.
    is_all = old is None or (old.namespace, _text(old.spec)) != (new.namespace, _text(new.spec))
    touched = [
        key
        for key in sorted({*before, *after})
        if is_all or key not in before or key not in after or _text(before[key]) != _text(after[key])
    ]
    images: set[str] = set()
    for key in touched:
        known = {image for _, image in manifest.images(before[key])} if key in before else set()
        images |= {image for _, image in manifest.images(after[key])} - known if key in after else set()
    targets = {*clusters, *new.clusters, *(() if new.clusters else (NONE,))}
    return Reach(
        release=new.name,
        namespace=new.namespace,
        clusters=tuple(sorted(targets)),
        objects=tuple(_touch(after.get(key) or before[key]) for key in touched),
        images=tuple(sorted(images)),
    )


def check_reach(reach: Reach, tool: ToolPolicy) -> None:
    """Check what a proposal would reach against the rules of the tool it is asked for by.

    Raises:
        Refused: ARGUMENT_NOT_ALLOWED or FIELD_INVALID, with what of the proposal no rule covers.
    """
    rules = {rule.path: rule for rule in tool.arguments}
    _check(rules, "release", [reach.release], "release")
    _check(rules, "namespace", [reach.namespace], "namespace")
    _check(rules, "clusters[]", reach.clusters, "clusters")
    _check(rules, "images[].image", reach.images, "images")
    at = f"{_RESULT}.objects"
    covered = rules.get("objects")
    for touch in reach.objects:
        if not isinstance(covered, ObjectsRule):
            raise not_allowed(at, "a policy with a rule `objects` for this tool")
        if not kind_matches(covered.kinds, touch.kind, touch.namespace):
            raise not_allowed(at, "changes of objects whose kind the policy covers, and of no others")
        if not any_matches(covered.namespaces, touch.namespace):
            raise not_allowed(at, "changes of objects whose namespace the policy covers, and of no others")


def _check(rules: dict[str, ArgumentRule], path: str, values: Iterable[str], name: str) -> None:
    at = f"{_RESULT}.{name}"
    for value in values:
        rule = rules.get(path)
        if rule is None:
            raise not_allowed(at, f"a policy with a rule `{path}` for this tool")
        if value == NONE:
            # Labels choose the clusters, and whoever sets labels chooses others tomorrow.
            if not any_matches(getattr(rule, "patterns", ()) or (), NONE):
                raise not_allowed(at, "clusters by name, or a policy that covers every cluster")
        else:
            check_value(value, rule, at)


def _touch(each: JsonObject) -> Touch:
    metadata = each["metadata"]
    kind = kind_of_manifest(each["apiVersion"], each["kind"])
    return Touch(kind, metadata.get("namespace") or NONE, metadata["name"])


def _text(value: JsonObject) -> bytes:
    # As text: 1 and true are alike to Python, not to Kubernetes.
    return canonical.dump(value)
