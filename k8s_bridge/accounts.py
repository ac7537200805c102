"""The names of the bridge's accounts, and of what it is installed as.

Owns one account a release scope, the bridge's own, and the groups of people that admission lets through.
Promises that two scopes never share an account. Never holds a credential.

A scope is the namespace of a release. Its account lives in the bridge's namespace: a pod of the scope itself
can then never run as it (docs/adr/0019-scopes-and-admission.md).
"""

from __future__ import annotations

SYSTEM_NAMESPACE = "conclave-system"
BRIDGE_ACCOUNT = "conclave-bridge"
SCOPE_PREFIX = "conclave-scope-"
BREAK_GLASS_GROUP = "conclave:break-glass"
"""People who may write what is governed; every such write is warned of and audited. The bridge undoes it in
objects of a release that is not frozen; what else is made that way it neither removes nor tells of."""
INSTALLER_GROUP = "conclave:installer"
"""People who may write what the bridge is installed as, and nothing that is governed."""
OWN_PREFIX = "conclave:"
"""Of the bridge's cluster roles and their bindings."""
OWN_DASHED = "conclave-"
"""Of the bridge's roles in a namespace, and of its admission policies and their bindings."""
GOVERNED_POLICY = OWN_DASHED + "governed"
POLICY_NAMES = (GOVERNED_POLICY, *(OWN_DASHED + name for name in ("objects", "own", "tokens", "break-glass")))
"""Of the admission policies that are ever printed, and of their bindings."""


def scope_account(namespace: str) -> str:
    """Give the name of a scope's service account."""
    return SCOPE_PREFIX + namespace


def user_of(account: str) -> str:
    """Give the user name of a service account in the bridge's namespace."""
    return f"system:serviceaccount:{SYSTEM_NAMESPACE}:{account}"
