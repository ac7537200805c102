"""Who may do what, and what a change needs: the specification read a second time, over plain JSON.

Owns ``Authority``: ledger objects as envelopes put and removed them, and people as genesis and envelopes made
them. It shares no rule, no record and no reader with the machine. Source: docs/spec/authority.md, §1 to §6.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

GOVERNING = ("ApprovalRule", "BreakGlass", "Identity", "Parameters", "Role", "RoleBinding")
_RULES_TTL = 1


class Touch(NamedTuple):
    """What a change touches: kind, namespace, name."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True)
class Scope:
    """Everything a change touches, where, how risky that is, and which of it goes."""

    operation: str
    touches: tuple[Touch, ...]
    clusters: tuple[str, ...]
    risk: str
    leaving: frozenset[Touch] = frozenset()


@dataclass(slots=True)
class Person:
    """A subject: who it is, and in which state each of its keys is (active, retired, revoked)."""

    did: str
    name: str
    kind: str
    organisation: str
    cluster: str | None
    keys: dict[str, str] = field(default_factory=dict)
    next: set[str] = field(default_factory=set)
    ended: bool = False

    @property
    def is_active(self) -> bool:
        """Whether it can speak."""
        return "active" in self.keys.values()

    @property
    def is_living(self) -> bool:
        """Whether it can speak, or come to speak again."""
        return not self.ended and (self.is_active or bool(self.next))


@dataclass(slots=True)
class Stored:
    """A ledger object and how often it was put."""

    spec: dict[str, Any]
    version: int


class Authority:
    """The constitution as it is, and the people it is about."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Stored] = {}
        self.people: dict[str, Person] = {}
        self._versions: dict[tuple[str, str], int] = {}

    def put(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        """Put an object."""
        version = self._versions.get((kind, name), 0) + 1
        self._versions[kind, name] = version
        self.objects[kind, name] = Stored(spec, version)

    def remove(self, kind: str, name: str) -> None:
        """Remove an object."""
        del self.objects[kind, name]

    def specs(self, kind: str) -> list[tuple[str, Stored]]:
        """Give the objects of a kind, by name."""
        return [(name, self.objects[key, name]) for key, name in sorted(self.objects) if key == kind]

    # -- may -----------------------------------------------------------------------------------------

    def may(self, who: Person, verb: str, scope: Scope, height: int, *, lasting: bool = False) -> bool:
        """Tell whether a subject may do this to every touch on every cluster."""
        if who.kind not in ("human", "agent") or (who.kind == "agent" and verb != "propose"):
            return False
        lines = self._lines(who.did, height, lasting=lasting)
        above = {
            b["subject"]: self._lines(b["subject"], height, lasting=lasting)
            for line in lines
            for b in line[1:]
        }

        def denied(of: list[list[dict[str, Any]]], touch: Touch, cluster: str) -> bool:
            return any(self._says(b, "deny", verb, touch, cluster) for line in of for b in line)

        return all(
            not denied(lines, t, c)
            and any(
                all(self._says(b, "allow", verb, t, c) for b in line)
                and not any(denied(above[b["subject"]], t, c) for b in line[1:])
                for line in lines
            )
            for t in scope.touches
            for c in scope.clusters
        )

    def holds(self, did: str, role: str, scope: Scope, height: int, *, lasting: bool = False) -> bool:
        """Tell whether a subject has a role over all of a scope."""
        return any(
            all(
                b["role"] == role
                and all(_some(b["namespaces"], t.namespace) for t in scope.touches)
                and all(_some(b["clusters"], c) for c in scope.clusters)
                for b in line
            )
            for line in self._lines(did, height, lasting=lasting)
        )

    def _lines(self, did: str, height: int, *, lasting: bool) -> list[list[dict[str, Any]]]:
        """Give a subject's live bindings, each with its parents."""
        found = []
        for _, stored in self.specs("RoleBinding"):
            if stored.spec["subject"] == did:
                line = [stored.spec]
                while line[-1]["parent"] is not None and len(line) < 5:
                    above = self.objects.get(("RoleBinding", line[-1]["parent"]))
                    line.append(above.spec if above else {"role": None, "parent": None})
                if len(line) < 5 and all(self._is_live(b, height, lasting=lasting) for b in line):
                    found.append(line)
        return found

    def _is_live(self, binding: dict[str, Any], height: int, *, lasting: bool) -> bool:
        if ("Role", binding["role"]) not in self.objects:
            return False
        if lasting and binding["notAfter"] is not None:
            return False
        return (binding["notBefore"] or 0) <= height <= (binding["notAfter"] or height)

    def _says(self, binding: dict[str, Any], effect: str, verb: str, touch: Touch, cluster: str) -> bool:
        if not (_some(binding["namespaces"], touch.namespace) and _some(binding["clusters"], cluster)):
            return False
        for rule in self.objects["Role", binding["role"]].spec["rules"]:
            named = effect == "allow" and _is_guarded(touch)
            kind = touch.kind in rule["kinds"] if named else _some(rule["kinds"], touch.kind)
            if (
                kind
                and rule["effect"] == effect
                and verb in rule["verbs"]
                and _some(rule["namespaces"], touch.namespace)
                and _some(rule["clusters"], cluster)
                and _some(rule["names"], touch.name)
            ):
                return True
        return False

    # -- what is required ----------------------------------------------------------------------------

    def requirement(self, scope: Scope, ttl: int) -> dict[str, Any] | None:
        """Give what a change needs, as its digest is made of; None where something is judged by no rule."""
        applying: dict[str, Stored] = {}
        for touch, cluster in itertools.product(scope.touches, scope.clusters):
            here = {name: s for name, s in self.specs("ApprovalRule") if _applies(s, scope, touch, cluster)}
            if not here:
                return None
            applying |= here
        asked = [stored.spec["require"] for stored in applying.values()]
        quorum: dict[str, int] = {}
        for item in itertools.chain.from_iterable(require["quorum"] for require in asked):
            quorum[item["role"]] = max(item["count"], quorum.get(item["role"], 0))
        return {
            "humans": max(require["humans"] for require in asked),
            "organisations": max(require["organisations"] for require in asked),
            "quorum": [[role, quorum[role]] for role in sorted(quorum)],
            "delaySeconds": max(require["delaySeconds"] for require in asked),
            "ttlBlocks": min(ttl, *(require["ttlBlocks"] for require in asked)),
            "denyThreshold": min(require["denyThreshold"] for require in asked),
            "rules": [[name, applying[name].version] for name in sorted(applying)],
            **_named_leaving(scope),
        }

    def under_glass(self, name: str, scope: Scope, ttl: int) -> dict[str, Any]:
        """Give what a break-glass proposal needs."""
        glass = self.objects["BreakGlass", name]
        operations = {scope.operation, *(["delete"] if scope.leaving else [])}
        assert operations <= {*glass.spec["operations"]}, "the glass was broken for something else"
        count = glass.spec["count"]
        return {
            "humans": count,
            "organisations": 1,
            "quorum": [],
            "delaySeconds": 0,
            "ttlBlocks": ttl,
            "denyThreshold": count,
            "rules": [[f"break-glass/{name}", glass.version]],
            **_named_leaving(scope),
        }

    def fulfils(
        self,
        required: dict[str, Any],
        who: Sequence[Person],
        scope: Scope,
        height: int,
        *,
        lasting: bool = False,
    ) -> bool:
        """Tell whether these humans are enough: every seating of the quorum's places is tried."""
        if len(who) < required["humans"]:
            return False
        if len({person.organisation for person in who}) < required["organisations"]:
            return False
        places = [role for role, count in required["quorum"] for _ in range(count)]
        return any(
            all(
                self.holds(person.did, place, scope, height, lasting=lasting)
                for person, place in zip(seated, places, strict=True)
            )
            for seated in itertools.permutations(who, len(places))
        )

    def locked_out(self, height: int) -> str | None:
        """Give a kind of the constitution that nobody could ever change again, or None."""
        living = [p for p in self.people.values() if p.is_living and p.kind == "human"]
        for kind in GOVERNING:
            scope = configuring([(kind, "?")])
            required = self.requirement(scope, _RULES_TTL)
            humans = [p for p in living if self.may(p, "approve", scope, height, lasting=True)]
            if (
                required is None
                or not any(self.may(p, "propose", scope, height, lasting=True) for p in living)
                or not self.fulfils(required, humans, scope, height, lasting=True)
            ):
                return kind
        return None


def digest_of(required: dict[str, Any]) -> str:
    """Give the digest that an approval signs."""
    return hashlib.sha256(json.dumps(required, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def configuring(objects: Iterable[tuple[str, str]]) -> Scope:
    """Give the scope of a change of ledger objects, named by kind and name."""
    touches = {Touch(f"{kind}.conclave.internal", "-", name) for kind, name in objects}
    return Scope("configure", tuple(sorted(touches)), ("-",), "constitution")


def fits(pattern: str, value: str) -> bool:
    """Tell whether a pattern matches."""
    if pattern == "*" or value == "-":
        return pattern == "*"
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern


def _some(patterns: Iterable[str], value: str) -> bool:
    return any(fits(pattern, value) for pattern in patterns)


def _named_leaving(scope: Scope) -> dict[str, str]:
    if not scope.leaving:
        return {}
    text = json.dumps(sorted(scope.leaving), separators=(",", ":"))
    return {"leaving": hashlib.sha256(text.encode()).hexdigest()}


def _applies(stored: Stored, scope: Scope, touch: Touch, cluster: str) -> bool:
    match = stored.spec["match"]
    goes = touch in scope.leaving
    return (
        ("delete" if goes else scope.operation) in match["operations"]
        and ("high" if goes else scope.risk) in match["risks"]
        and _some(match["kinds"], touch.kind)
        and _some(match["namespaces"], touch.namespace)
        and _some(match["clusters"], cluster)
    )


def _is_guarded(touch: Touch) -> bool:
    own = touch.kind.endswith(".conclave.internal") and touch.kind != "Release.conclave.internal"
    return touch.namespace == "-" or own or touch.kind == "Secret"
