"""The bridge's accounts and permissions as Kubernetes objects.

Owns the form of what an administrator installs: namespaces, service accounts, roles and their bindings, and
the rights the bridge has in its own namespace. Promises one order and one spelling for one set of needs, and
no wildcard. Pure; never decides what is needed (``grants``).

Source: rbac.authorization.k8s.io/v1; KEP-5284 (``impersonate:serviceaccount``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from k8s_bridge.accounts import (
    BRIDGE_ACCOUNT,
    OWN_PREFIX,
    POLICY_NAMES,
    SCOPE_PREFIX,
    SYSTEM_NAMESPACE,
    scope_account,
    user_of,
)
from k8s_bridge.grants import RBAC_GROUP, Grant, Impersonation, Needs
from k8s_bridge.lease import LEASE_NAME
from ledger.types import JsonObject

LABELS = {"app.kubernetes.io/managed-by": "conclave-install"}
_API = f"{RBAC_GROUP}/v1"


def access(
    needs: Needs, bridge_user: str | None = None, impersonation: Impersonation = Impersonation.CONSTRAINED
) -> list[JsonObject]:
    """Give the objects that let the bridge do what the releases need, in the order to apply them.

    Args:
        needs: what that is.
        bridge_user: the user the bridge authenticates as; None for its own service account.
        impersonation: as the needs were worked out for.
    """
    names = sorted({SYSTEM_NAMESPACE, *needs.namespaces})
    accounts = [BRIDGE_ACCOUNT, *map(scope_account, needs.scopes)]
    granted = needs.grants | _own_grants(needs, impersonation)
    places = sorted({(grant.namespace, grant.account) for grant in granted})
    subjects = {account: _subject(account, bridge_user) for account in accounts}
    roles, bindings = [], []
    for namespace, account in places:
        rules = rules_of(g for g in granted if (g.namespace, g.account) == (namespace, account))
        role = _role(namespace, account, rules)
        roles.append(role)
        bindings.append(_binding(role, subjects[account]))
    return [
        # Without our label: a release may own the namespace, and would take it off again.
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names),
        *(
            {**_object("v1", "ServiceAccount", name, SYSTEM_NAMESPACE), "automountServiceAccountToken": False}
            for name in accounts
        ),
        *roles,
        *bindings,
    ]


def rules_of(grants: Iterable[Grant]) -> list[JsonObject]:
    """Fold grants of one role into few rules; those with names apart from those without."""
    verbs: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for grant in grants:
        verbs[grant.group, grant.plural, grant.name].add(grant.verb)
    names: dict[tuple[str, str, tuple[str, ...], bool], list[str]] = defaultdict(list)
    for (group, plural, name), found in verbs.items():
        names[group, plural, tuple(sorted(found)), bool(name)].append(name)
    plurals: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[str]] = defaultdict(list)
    for (group, plural, verb, named), listed in names.items():
        plurals[group, verb, tuple(sorted(listed)) if named else ()].append(plural)
    return [
        {
            "apiGroups": [group],
            "resources": sorted(listed),
            "verbs": list(verb),
            **({"resourceNames": list(named)} if named else {}),
        }
        for (group, verb, named), listed in sorted(plurals.items(), key=lambda item: (item[0], item[1]))
    ]


def _own_grants(needs: Needs, impersonation: Impersonation) -> frozenset[Grant]:
    """What the bridge needs whatever the releases are: inventories, a lease, its scopes, its policies."""
    own = (BRIDGE_ACCOUNT, SYSTEM_NAMESPACE)
    found = {Grant(*own, "", "configmaps", "", verb) for verb in ("create", "get", "list", "patch")}
    lease = (*own, "coordination.k8s.io", "leases")
    found |= {Grant(*lease, LEASE_NAME, "get"), Grant(*lease, LEASE_NAME, "update")}
    # A create names its object in the body, where no rule looks.
    found.add(Grant(*lease, "", "create"))
    constrained = impersonation is Impersonation.CONSTRAINED
    group = "authentication.k8s.io" if constrained else ""
    verb = "impersonate:serviceaccount" if constrained else "impersonate"
    found |= {Grant(*own, group, "serviceaccounts", scope_account(scope), verb) for scope in needs.scopes}
    found |= {Grant(BRIDGE_ACCOUNT, "", "", "namespaces", SYSTEM_NAMESPACE, "get")}
    for plural in ("validatingadmissionpolicies", "validatingadmissionpolicybindings"):
        about = (BRIDGE_ACCOUNT, "", "admissionregistration.k8s.io", plural)
        found |= {Grant(*about, name, "get") for name in POLICY_NAMES}
    return frozenset(found)


def _role(namespace: str, account: str, rules: list[JsonObject]) -> JsonObject:
    kind = "Role" if namespace else "ClusterRole"
    return {**_object(_API, kind, _role_name(namespace, account), namespace), "rules": rules}


def _role_name(namespace: str, account: str) -> str:
    if namespace:
        return account
    if account == BRIDGE_ACCOUNT:
        return f"{OWN_PREFIX}bridge"
    return f"{OWN_PREFIX}scope:{account.removeprefix(SCOPE_PREFIX)}"


def _binding(role: JsonObject, subject: JsonObject) -> JsonObject:
    metadata, kind = role["metadata"], role["kind"]
    return {
        **_object(_API, f"{kind}Binding", metadata["name"], metadata.get("namespace", "")),
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": kind, "name": metadata["name"]},
        "subjects": [subject],
    }


def _subject(account: str, bridge_user: str | None) -> JsonObject:
    if account == BRIDGE_ACCOUNT and bridge_user not in {None, user_of(BRIDGE_ACCOUNT)}:
        return {"apiGroup": RBAC_GROUP, "kind": "User", "name": bridge_user}
    return {"kind": "ServiceAccount", "name": account, "namespace": SYSTEM_NAMESPACE}


def _object(api_version: str, kind: str, name: str, namespace: str = "") -> JsonObject:
    metadata: JsonObject = {"name": name, "labels": dict(LABELS)}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}
