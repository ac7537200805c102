"""The policies by which an API server refuses what no quorum finalized.

Owns the ValidatingAdmissionPolicies and their bindings, in the form an API server keeps itself and in the
form it reads from files. Promises: they select namespaces by the name that cannot be changed, never by a
label of ours; they cover create, update, delete, collections and subresources; they fail closed; one set of
needs gives one text. Pure; never looks at a cluster. What each form cannot do is told in
docs/guides/bridge-install.md.

Source: admissionregistration.k8s.io/v1; KEP-5793 (static manifests); kubernetes notes §4 and trap 9.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable
from dataclasses import dataclass

from k8s_bridge.accounts import (
    BREAK_GLASS_GROUP,
    BRIDGE_ACCOUNT,
    GOVERNED_POLICY,
    INSTALLER_GROUP,
    OWN_DASHED,
    OWN_PREFIX,
    SYSTEM_NAMESPACE,
    scope_account,
    user_of,
)
from k8s_bridge.controllers import CONTROLLER_ACCOUNTS, CONTROLLER_NAMESPACE, SYSTEM_USERS
from k8s_bridge.grants import RBAC_GROUP, Needs
from k8s_bridge.rbac import LABELS
from ledger.types import JsonObject

STATIC_SUFFIX = ".static.k8s.io"
NAME_LABEL = "kubernetes.io/metadata.name"
"""Set by the API server on every namespace, and not to be changed."""
BREAK_GLASS_ANNOTATION = "break-glass"
_API = "admissionregistration.k8s.io/v1"
_GROUP = "admissionregistration.k8s.io"
_ALL_WRITES = ["CREATE", "UPDATE", "DELETE", "CONNECT"]
_REFUSED = (
    f"'nothing but the ledger writes here: see conclave propose; in an emergency, group {BREAK_GLASS_GROUP}'"
)
_NAME = (
    "has(request.name) && request.name != '' ? request.name : "
    "oldObject != null ? oldObject.metadata.name : "
    "object != null && has(object.metadata) && has(object.metadata.name) ? object.metadata.name : ''"
)


class Form(enum.StrEnum):
    """Where policies are kept: in the API, or in files beside the API server."""

    API = "api"
    STATIC = "static"


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom the policies let through besides scopes and Kubernetes's own controllers.

    Attributes:
        bridge: the user the bridge authenticates as.
        users: other users, as an administrator named them.
    """

    bridge: str = user_of(BRIDGE_ACCOUNT)
    users: tuple[str, ...] = ()


def policies(needs: Needs, form: Form, trust: Trust | None = None) -> list[JsonObject]:
    """Give the policies and their bindings, policies first."""
    trusted = trust or Trust()
    made = [_objects(needs, trusted, form), _own(trusted), _tokens()]
    if needs.namespaces:
        made.insert(0, _namespaces(needs, trusted))
    warned = _break_glass(needs)
    bindings = [_bind(policy, ["Deny"]) for policy in made] + [_bind(warned, ["Warn", "Audit"])]
    found = [*made, warned, *bindings]
    return [_named_for(item, form) for item in found]


def admission_configuration(folder: str) -> JsonObject:
    """Give the API server's ``--admission-control-config-file`` for static policies in ``folder``."""
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [
            {
                "name": "ValidatingAdmissionPolicy",
                "configuration": {
                    "apiVersion": "apiserver.config.k8s.io/v1",
                    "kind": "ValidatingAdmissionPolicyConfiguration",
                    "staticManifestsDir": folder,
                },
            }
        ],
    }


def _namespaces(needs: Needs, trust: Trust) -> JsonObject:
    """Everything in a namespace of the ledger; what opens a view and changes nothing is left out."""
    constraints = {
        "resourceRules": [_rule(["*"], ["*/*"], _ALL_WRITES, "Namespaced")],
        "excludeResourceRules": [
            _rule([""], ["events", "pods/portforward", "pods/proxy", "services/proxy"], _ALL_WRITES),
            _rule(["events.k8s.io"], ["events"], _ALL_WRITES),
            _rule(["authorization.k8s.io"], ["localsubjectaccessreviews"], _ALL_WRITES),
        ],
        "namespaceSelector": _selector(needs.namespaces),
    }
    users = [*needs.controllers, *trust.users]
    own = (
        f"variables.installer && request.resource.group == '{RBAC_GROUP}' && "
        f"({_NAME}).startsWith('{OWN_DASHED}')"
    )
    allowed = f"variables.system || variables.scope || variables.trusted || variables.breakGlass || {own}"
    policy = _policy(GOVERNED_POLICY, constraints, allowed)
    return _with_variables(policy, scopes=needs.scopes, users=users)


def _objects(needs: Needs, trust: Trust, form: Form) -> JsonObject:
    """Objects by their exact name, the bridge's own roles, and in files what could change or undo this."""
    kinds = {(o.resource.group, o.resource.plural) for o in needs.objects}
    kinds |= {("", "namespaces"), (RBAC_GROUP, "clusterroles"), (RBAC_GROUP, "clusterrolebindings")}
    own = f"variables.group == '{RBAC_GROUP}' && variables.name.startsWith('{OWN_PREFIX}')"
    if form is Form.STATIC:
        kinds |= {(_GROUP, plural) for plural in _MUTATING + _VALIDATING}
        own += f" || variables.group == '{_GROUP}' && variables.plural in {_list(_MUTATING)}"
        own += f" || variables.group == '{_GROUP}' && variables.name.startsWith('{OWN_DASHED}')"
    governed = [f"{o.resource.group}/{o.resource.plural}/{o.namespace}/{o.name}" for o in needs.objects]
    spaces = [f"/namespaces//{name}" for name in {SYSTEM_NAMESPACE, *needs.namespaces}]
    # The API server takes a namespace for the namespace of its own request.
    key = (
        "variables.group + '/' + variables.plural + '/' + (variables.plural == 'namespaces' ? '' : "
        "has(request.namespace) ? request.namespace : '') + '/' + variables.name"
    )
    rules = [_rule([group], [plural, f"{plural}/*"], _ALL_WRITES[:3]) for group, plural in sorted(kinds)]
    allowed = (
        "!variables.own && !variables.governed || variables.system || variables.breakGlass || "
        "variables.governed && (variables.scope || variables.trusted) || "
        "variables.installer && "
        "(variables.own || variables.plural == 'namespaces' && request.operation != 'DELETE')"
    )
    policy = _policy(OWN_DASHED + "objects", {"resourceRules": rules}, allowed)
    variables = [
        _variable("group", "request.resource.group"),
        _variable("plural", "request.resource.resource"),
        _variable("name", _NAME),
        _variable("own", own),
        _variable("governed", f"{key} in {_list(sorted({*governed, *spaces}))}"),
    ]
    policy = _with_variables(policy, scopes=needs.scopes, users=trust.users)
    policy["spec"]["variables"] += variables
    return policy


def _own(trust: Trust) -> JsonObject:
    """The bridge's namespace: inventories and leases are its own, the rest is the installer's."""
    constraints = {
        "resourceRules": [_rule(["*"], ["*/*"], _ALL_WRITES, "Namespaced")],
        "namespaceSelector": _selector([SYSTEM_NAMESPACE]),
    }
    bridge = (
        f"request.userInfo.username == {_text(trust.bridge)} && !variables.forged && "
        "request.resource.resource in ['configmaps', 'leases', 'events']"
    )
    allowed = f"variables.system || variables.installer || variables.breakGlass || {bridge}"
    return _with_variables(_policy(OWN_DASHED + "own", constraints, allowed), scopes=(), users=())


def _tokens() -> JsonObject:
    """What would make anybody one of the controllers that the other policies let through."""
    constraints = {
        "resourceRules": [
            _rule([""], ["serviceaccounts/token", "pods", "secrets"], ["CREATE", "UPDATE"]),
        ],
        "namespaceSelector": _selector([CONTROLLER_NAMESPACE]),
    }
    names = _list(CONTROLLER_ACCOUNTS)
    account = "'kubernetes.io/service-account.name'"
    refused = (
        f"request.resource.resource == 'serviceaccounts' ? request.name in {names} && "
        "!(request.userInfo.username in ['system:kube-controller-manager', 'system:apiserver']) : "
        "request.resource.resource == 'pods' ? has(object.spec.serviceAccountName) && "
        f"object.spec.serviceAccountName in {names} : "
        "has(object.type) && object.type == 'kubernetes.io/service-account-token' && "
        f"has(object.metadata.annotations) && {account} in object.metadata.annotations && "
        f"object.metadata.annotations[{account}] in {names}"
    )
    allowed = f"variables.breakGlass || !({refused})"
    return _with_variables(_policy(OWN_DASHED + "tokens", constraints, allowed), scopes=(), users=())


def _break_glass(needs: Needs) -> JsonObject:
    """Says it aloud, to who does it and in the audit log; refuses nothing."""
    constraints = {
        "resourceRules": [_rule(["*"], ["*/*"], _ALL_WRITES)],
        "namespaceSelector": _selector(sorted({SYSTEM_NAMESPACE, *needs.namespaces})),
    }
    policy = _policy(OWN_DASHED + "break-glass", constraints, "!variables.breakGlass")
    policy["spec"]["validations"][0] |= {
        "messageExpression": "'break glass: ' + request.userInfo.username + ' writes what only the ledger "
        "may. It is recorded. What it changes of a release is put back unless that is frozen; what else it '"
        " + 'makes stays until somebody removes it'"
    }
    return _with_variables(policy, scopes=(), users=())


def _policy(name: str, constraints: JsonObject, allowed: str) -> JsonObject:
    return {
        "apiVersion": _API,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name, "labels": dict(LABELS)},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {**constraints, "matchPolicy": "Equivalent"},
            "variables": [],
            "validations": [{"expression": allowed, "messageExpression": _REFUSED, "reason": "Forbidden"}],
            "auditAnnotations": [
                {
                    "key": BREAK_GLASS_ANNOTATION,
                    "valueExpression": "variables.breakGlass ? request.userInfo.username : ''",
                }
            ],
        },
    }


def _with_variables(policy: JsonObject, *, scopes: Iterable[str], users: Iterable[str]) -> JsonObject:
    accounts = [user_of(scope_account(scope)) for scope in scopes]
    # An impersonated account has no credential of its own; a token of it would.
    extra = "request.userInfo.extra"
    credential = "'authentication.kubernetes.io/credential-id'"
    real = f"has({extra}) && {credential} in {extra}"
    # A service account has tokens. A certificate in its name came from a signing request somebody approved.
    forged = (
        f"request.userInfo.username.startsWith('system:serviceaccount:') && {real} && "
        f"{extra}[{credential}].exists(id, id.startsWith('X509SHA256='))"
    )
    policy["spec"]["variables"] = [
        _variable("groups", "has(request.userInfo.groups) ? request.userInfo.groups : []"),
        _variable("forged", forged),
        _variable(
            "system",
            f"request.userInfo.username in {_list(SYSTEM_USERS)} && !variables.forged || "
            "'system:nodes' in variables.groups && request.userInfo.username.startsWith('system:node:')",
        ),
        _variable("scope", f"request.userInfo.username in {_list(accounts)} && !({real})"),
        _variable(
            "trusted", f"request.userInfo.username in {_list(sorted(set(users)))} && !variables.forged"
        ),
        _variable("breakGlass", f"{_text(BREAK_GLASS_GROUP)} in variables.groups"),
        _variable("installer", f"{_text(INSTALLER_GROUP)} in variables.groups"),
    ]
    return policy


def _bind(policy: JsonObject, actions: list[str]) -> JsonObject:
    name = policy["metadata"]["name"]
    return {
        "apiVersion": _API,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name, "labels": dict(LABELS)},
        "spec": {"policyName": name, "validationActions": actions},
    }


def _named_for(item: JsonObject, form: Form) -> JsonObject:
    if form is Form.API:
        return item
    metadata = {**item["metadata"], "name": item["metadata"]["name"] + STATIC_SUFFIX}
    spec = dict(item["spec"])
    if "policyName" in spec:
        spec["policyName"] += STATIC_SUFFIX
    return {**item, "metadata": metadata, "spec": spec}


def _rule(groups: list[str], resources: list[str], operations: list[str], scope: str = "*") -> JsonObject:
    return {
        "apiGroups": groups,
        "apiVersions": ["*"],
        "operations": operations,
        "resources": resources,
        "scope": scope,
    }


def _selector(namespaces: Iterable[str]) -> JsonObject:
    return {"matchExpressions": [{"key": NAME_LABEL, "operator": "In", "values": list(namespaces)}]}


def _variable(name: str, expression: str) -> JsonObject:
    return {"name": name, "expression": expression}


def _list(texts: Iterable[str]) -> str:
    return "[" + ", ".join(_text(text) for text in texts) + "]"


def _text(text: str) -> str:
    """Write a CEL string: JSON's escapes are among CEL's."""
    return json.dumps(text)


_MUTATING = ("mutatingadmissionpolicies", "mutatingadmissionpolicybindings", "mutatingwebhookconfigurations")
_VALIDATING = ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
