"""Whether admission policies on a cluster are those that the bridge would print.

Owns the comparison of a live policy or binding with ``admission.policies``. What an installation chooses
(namespaces, scopes, objects, users that may write, the bridge's user) is read from the live object and
everything else must be exactly ours; defaults of the API server count for nothing, anything else beside ours
for a change. Promises that an object of any form gives an answer, in time linear in its size. Pure; never
looks at a cluster. Whom a policy lets through by name it gives, and does not judge.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from k8s_bridge.accounts import GOVERNED_POLICY, OWN_DASHED, POLICY_NAMES, SCOPE_PREFIX, user_of
from k8s_bridge.admission import Form, Trust, policies
from k8s_bridge.grants import Governed, Needs
from k8s_bridge.kinds import Resource
from k8s_bridge.objects import ObjectKey, field
from ledger.types import JsonObject

API, POLICY, BINDING = (
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
)
KEYS = tuple(ObjectKey(API, kind, "", name) for kind in (POLICY, BINDING) for name in POLICY_NAMES)
"""What is looked at: every policy that is ever printed, and its binding."""
ABSENT, CHANGED = "absent", "not as printed"
_OWN = OWN_DASHED + "own"
_SPACE = "/namespaces//"
_BRIDGE = re.compile(r'request\.userInfo\.username == ("(?:[^"\\]|\\.)*") &&')


def is_ours(key: ObjectKey, live: JsonObject) -> bool:
    """Whether a live policy or binding is what would be printed with the lists that it has."""
    needs, trust = _read_back(live) if key.kind == POLICY else (_needs(namespaces=("any",)), Trust())
    made = policies(needs, Form.API, trust)
    wanted = next((i for i in made if i["kind"] == key.kind and i["metadata"]["name"] == key.name), None)
    return wanted is not None and _covers(wanted["spec"], live.get("spec"))


def uncovered(live: Mapping[ObjectKey, JsonObject | None], scopes: frozenset[str]) -> list[str]:
    """Give the scopes of releases that the policy of governed namespaces does not select."""
    policy = live.get(ObjectKey(API, POLICY, "", GOVERNED_POLICY))
    return sorted(scopes - set(_selected(policy))) if policy is not None else []


def let_through(live: Mapping[ObjectKey, JsonObject | None]) -> list[str]:
    """Give the users that policies let through by name, the bridge's own among them."""
    found: set[str] = set()
    for key, policy in live.items():
        if key.kind == POLICY and policy is not None:
            _, trust = _read_back(policy)
            found |= {*trust.users} | ({trust.bridge} if key.name == _OWN else set())
    return sorted(found)


def _read_back(live: JsonObject) -> tuple[Needs, Trust]:
    variables = _variables(live)
    prefix = user_of(SCOPE_PREFIX)
    accounts = _listed(variables.get("scope", ""))
    named = _listed(variables.get("governed", ""))
    spaces = [text.removeprefix(_SPACE) for text in named if text.startswith(_SPACE)]
    needs = _needs(
        scopes=tuple(text.removeprefix(prefix) for text in accounts if text.startswith(prefix)),
        namespaces=tuple(_selected(live)) or tuple(spaces),
        objects=frozenset(o for text in named if not text.startswith(_SPACE) and (o := _object(text))),
    )
    bridge = _bridge_of(live)
    users = tuple(_listed(variables.get("trusted", "")))
    return needs, Trust(bridge, users) if bridge is not None else Trust(users=users)


def _needs(
    scopes: tuple[str, ...] = (),
    namespaces: tuple[str, ...] = (),
    objects: frozenset[Governed] = frozenset(),
) -> Needs:
    return Needs(scopes, namespaces, frozenset(), objects, ())


def _variables(live: JsonObject) -> dict[str, str]:
    found = field(live, "spec", "variables")
    texts = [(field(v, "name"), field(v, "expression")) for v in found] if isinstance(found, list) else []
    return {name: text for name, text in texts if isinstance(name, str) and isinstance(text, str)}


def _listed(expression: str) -> list[str]:
    """Read the list of texts that an expression asks to be in; nothing where there is none."""
    at = expression.find(" in [")
    try:
        found = json.JSONDecoder().raw_decode(expression, at + len(" in "))[0] if at >= 0 else []
    except (ValueError, RecursionError):
        found = []
    return [text for text in found if isinstance(text, str)]


def _selected(live: JsonObject | None) -> list[str]:
    selector = field(live, "spec", "matchConstraints", "namespaceSelector")
    expressions = field(selector, "matchExpressions")
    values = field(expressions[0], "values") if isinstance(expressions, list) and expressions else []
    return [text for text in values if isinstance(text, str)] if isinstance(values, list) else []


def _object(text: str) -> Governed | None:
    parts = text.split("/", 3)
    if len(parts) < 4:
        return None
    group, plural, namespace, name = parts
    return Governed(Resource(group, plural, bool(namespace)), namespace, name)


def _bridge_of(live: JsonObject) -> str | None:
    validations = field(live, "spec", "validations")
    first = validations[0] if isinstance(validations, list) and validations else None
    matched = _BRIDGE.search(str(field(first, "expression")))
    try:
        found = json.loads(matched[1]) if matched else None
    except ValueError:
        found = None
    return found if isinstance(found, str) else None


def _covers(wanted: Any, live: Any) -> bool:
    """Whether ``live`` is ``wanted`` and what else it has is empty, as defaults are."""
    if isinstance(wanted, dict):
        if not isinstance(live, dict) or any(live[name] for name in live.keys() - wanted.keys()):
            return False
        return all(_covers(value, live.get(name)) for name, value in wanted.items())
    if isinstance(wanted, list):
        same_length = len(wanted) == len(live) if isinstance(live, list) else not wanted and live is None
        return same_length and all(_covers(one, other) for one, other in zip(wanted, live or (), strict=True))
    return bool(wanted == live)
