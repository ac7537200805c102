"""Rights and policies are worked out of what releases hold, no more and no less."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import pytest

from k8s_bridge.accounts import BRIDGE_ACCOUNT, GOVERNED_POLICY, SYSTEM_NAMESPACE, scope_account, user_of
from k8s_bridge.admission import Form, Trust, policies
from k8s_bridge.grants import Grant, Holding, Impersonation, Needs, needs_of
from k8s_bridge.kinds import Resource
from k8s_bridge.objects import trial_name
from k8s_bridge.rbac import access, rules_of
from ledger.authority.scope import Touch
from ledger.errors import Code, Refused
from ledger.types import JsonObject
from tests.support.manifests import config_map, definition, deployment, namespace_object, widget

RBAC = "rbac.authorization.k8s.io"
SHOP = scope_account("shop")


def _role(kind: str, name: str, namespace: str | None = "shop") -> JsonObject:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata, "rules": []}


def _binding(role: str, subject: JsonObject) -> JsonObject:
    ref = {"apiGroup": RBAC, "kind": "ClusterRole", "name": role}
    return {**_role("RoleBinding", "b"), "roleRef": ref, "subjects": [subject]}


def _needs(*manifests: JsonObject, scope: str = "shop") -> Needs:
    return needs_of([Holding("guestbook", scope, manifests)], {})


def _verbs(needs: Needs, account: str, plural: str) -> set[tuple[str, str, str]]:
    return {(g.verb, g.namespace, g.name) for g in needs.grants if (g.account, g.plural) == (account, plural)}


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from itertools.chain.from_iterable(map(_texts, value.values()))
    elif isinstance(value, list):
        yield from itertools.chain.from_iterable(map(_texts, value))


EVERYTHING = (
    namespace_object(),
    definition(),
    widget("one"),
    deployment("web"),
    config_map("a", "elsewhere"),
    _role("Role", "r"),
    _role("ClusterRole", "c", None),
    _binding("view", {"kind": "ServiceAccount", "name": "operator"}),
)


@pytest.mark.requires("bridge.rights-generated")
@pytest.mark.parametrize("impersonation", list(Impersonation))
def test_no_rule_has_a_wildcard(impersonation: Impersonation) -> None:
    needs = needs_of([Holding("guestbook", "shop", EVERYTHING)], {}, impersonation)
    rules = [rule for item in access(needs, None, impersonation) for rule in item.get("rules", [])]
    assert len(rules) > 10
    assert "*" not in set(_texts(rules))


@pytest.mark.requires("bridge.rights-generated")
def test_a_scope_writes_the_kinds_it_has_where_it_has_them() -> None:
    needs = _needs(deployment("web"), config_map("a", "elsewhere"))
    writes = {"create", "patch", "delete"}
    assert _verbs(needs, SHOP, "deployments") == {(verb, "shop", "") for verb in writes}
    assert _verbs(needs, SHOP, "configmaps") == {(verb, "elsewhere", "") for verb in writes}
    assert {grant.plural for grant in needs.grants if grant.account == SHOP} == {"deployments", "configmaps"}


@pytest.mark.requires("bridge.rights-generated")
def test_the_bridge_reads_what_its_scopes_write_and_acts_only_as_them() -> None:
    needs = _needs(deployment("web"))
    assert {verb for verb, *_ in _verbs(needs, BRIDGE_ACCOUNT, "deployments")} == {
        "get",
        "list",
        "watch",
        "impersonate-on:serviceaccount:patch",
        "impersonate-on:serviceaccount:delete",
    }


@pytest.mark.requires("bridge.rights-generated")
def test_a_cluster_scoped_object_is_granted_by_its_name() -> None:
    needs = _needs(_role("ClusterRole", "c", None))
    tried = trial_name("c")  # by a dry run, to see whether it could be made anew
    assert _verbs(needs, SHOP, "clusterroles") == {
        (verb, "", name) for verb in ("create", "patch", "escalate") for name in ("c", tried)
    } | {("delete", "", "c")}


@pytest.mark.requires("bridge.rights-generated")
def test_escalate_and_bind_are_for_the_roles_of_a_release_alone() -> None:
    without = _needs(deployment("web"), config_map("a"))
    assert {"escalate", "bind"}.isdisjoint(grant.verb for grant in without.grants)
    needs = _needs(*EVERYTHING)
    found = {(g.verb, g.namespace, g.plural, g.name) for g in needs.grants if g.verb in {"escalate", "bind"}}
    assert found == {
        ("escalate", "shop", "roles", "r"),
        ("escalate", "", "clusterroles", "c"),
        ("escalate", "shop", "roles", trial_name("r")),
        ("escalate", "", "clusterroles", trial_name("c")),
        ("bind", "shop", "clusterroles", "view"),
    }


@pytest.mark.requires("bridge.rights-generated")
def test_what_only_older_revisions_had_may_be_deleted_and_no_more() -> None:
    older = (Touch("ConfigMap", "shop", "old"), Touch("Release.conclave.internal", "shop", "guestbook"))
    needs = needs_of([Holding("guestbook", "shop", (deployment("web"),), older)], {})
    assert {verb for verb, *_ in _verbs(needs, SHOP, "configmaps")} == {"delete"}


@pytest.mark.requires("bridge.rights-generated")
def test_what_is_scaled_is_measured_and_nothing_else() -> None:
    web = (deployment("web"),)
    assert not _verbs(needs_of([Holding("g", "shop", web)], {}), BRIDGE_ACCOUNT, "pods")
    needs = needs_of([Holding("g", "shop", web, scaled=("apps/v1/Deployment/shop/web",))], {})
    found = {(g.group, g.namespace, g.verb) for g in needs.grants if g.plural == "pods"}
    assert found == {("", "shop", "list"), ("metrics.k8s.io", "shop", "list")}


@pytest.mark.requires("bridge.rights-generated")
def test_scopes_do_not_share_rights() -> None:
    held = [Holding("a", "shop", (deployment("web"),)), Holding("b", "bank", (config_map("c", "bank"),))]
    needs = needs_of(held, {})
    assert {g.namespace for g in needs.grants if g.account == SHOP} == {"shop"}
    assert {g.namespace for g in needs.grants if g.account == scope_account("bank")} == {"bank"}
    assert needs.namespaces == ("bank", "shop")


@pytest.mark.requires("bridge.rights-generated")
def test_a_kind_that_nobody_defines_is_refused_until_it_is_named() -> None:
    with pytest.raises(Refused) as caught:
        _needs(widget("one"))
    assert caught.value.code is Code.OBJECT_KIND_UNKNOWN
    told = {"Widget.shop.test": Resource("shop.test", "widgets", namespaced=True)}
    needs = needs_of([Holding("guestbook", "shop", (widget("one"),))], told)
    assert _verbs(needs, SHOP, "widgets")
    # A definition cannot make a built-in kind another one.
    trick = {"ConfigMap": Resource("", "secrets", namespaced=True)}
    assert not _verbs(needs_of([Holding("g", "shop", (config_map("a"),))], trick), SHOP, "secrets")


@pytest.mark.requires("bridge.rights-generated")
def test_one_state_of_the_ledger_gives_one_text() -> None:
    texts = set()
    for order in ((0, 1), (1, 0)):
        held = [Holding("a", "shop", EVERYTHING), Holding("b", "bank", tuple(reversed(EVERYTHING)))]
        needs = needs_of([held[index] for index in order], {})
        texts.add(json.dumps([access(needs), policies(needs, Form.API), policies(needs, Form.STATIC)]))
    assert len(texts) == 1


@pytest.mark.requires("bridge.rights-generated")
def test_rules_fold_and_lose_nothing() -> None:
    grants = [
        Grant("a", "n", "apps", "deployments", "", "patch"),
        Grant("a", "n", "apps", "statefulsets", "", "patch"),
        Grant("a", "n", "", "secrets", "one", "get"),
        Grant("a", "n", "", "secrets", "two", "get"),
        Grant("a", "n", "", "secrets", "", "list"),
    ]
    assert rules_of(grants) == [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["one", "two"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]},
        {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": ["patch"]},
    ]


@pytest.mark.requires("bridge.rights-generated")
def test_accounts_live_where_no_release_runs_pods_and_carry_no_token() -> None:
    found = [item for item in access(_needs(deployment("web"))) if item["kind"] == "ServiceAccount"]
    assert {item["metadata"]["name"] for item in found} == {BRIDGE_ACCOUNT, SHOP}
    assert {item["metadata"]["namespace"] for item in found} == {SYSTEM_NAMESPACE}
    assert [item["automountServiceAccountToken"] for item in found] == [False, False]


@pytest.mark.requires("bridge.rights-generated")
def test_a_namespace_is_installed_bare_for_a_release_may_own_it() -> None:
    found = [item for item in access(_needs(*EVERYTHING)) if item["kind"] == "Namespace"]
    names = ("conclave-system", "elsewhere", "shop")
    assert [item["metadata"] for item in found] == [{"name": name} for name in names]


@pytest.mark.requires("bridge.rights-generated")
def test_a_bridge_outside_the_cluster_is_a_user() -> None:
    bindings = [i for i in access(_needs(deployment("web")), "node-3") if i["kind"].endswith("RoleBinding")]
    subjects = {json.dumps(s, sort_keys=True) for item in bindings for s in item["subjects"]}
    assert json.dumps({"apiGroup": RBAC, "kind": "User", "name": "node-3"}, sort_keys=True) in subjects
    assert BRIDGE_ACCOUNT not in {s["name"] for item in bindings for s in item["subjects"]}


def _governed(form: Form = Form.API, *, trust: Trust | None = None) -> JsonObject:
    found = policies(_needs(*EVERYTHING), form, trust)
    return next(item for item in found if item["metadata"]["name"].startswith(GOVERNED_POLICY))


@pytest.mark.requires("bridge.only-finalized-runs")
def test_namespaces_are_selected_by_the_name_that_cannot_be_changed() -> None:
    for policy in policies(_needs(*EVERYTHING), Form.API):
        for expression in (
            policy["spec"]
            .get("matchConstraints", {})
            .get("namespaceSelector", {})
            .get("matchExpressions", [])
        ):
            assert expression["key"] == "kubernetes.io/metadata.name"
            assert expression["values"]
    assert _governed()["spec"]["failurePolicy"] == "Fail"


@pytest.mark.requires("bridge.only-finalized-runs")
def test_a_controller_with_a_signed_binding_and_a_named_user_may_write() -> None:
    trusted = {v["name"]: v["expression"] for v in _governed(trust=Trust(users=("u",)))["spec"]["variables"]}
    assert '"system:serviceaccount:shop:operator"' in trusted["trusted"]
    assert '"u"' in trusted["trusted"]
    assert user_of(SHOP) in trusted["scope"]


@pytest.mark.requires("bridge.only-finalized-runs")
def test_no_account_is_let_through_by_a_certificate() -> None:
    found = {v["name"]: v["expression"] for v in _governed()["spec"]["variables"]}
    assert "X509SHA256=" in found["forged"]
    assert all("!variables.forged" in found[name] for name in ("system", "trusted"))


@pytest.mark.requires("bridge.admission-protects-itself")
def test_static_policies_are_named_as_files_must_be() -> None:
    for item in policies(_needs(*EVERYTHING), Form.STATIC):
        assert item["metadata"]["name"].endswith(".static.k8s.io")
        assert item["spec"].get("policyName", ".static.k8s.io").endswith(".static.k8s.io")
        assert {"paramKind", "paramRef"}.isdisjoint(item["spec"])


@pytest.mark.requires("bridge.only-finalized-runs")
def test_the_clusters_own_namespaces_are_governed_object_by_object() -> None:
    needs = _needs(config_map("a", "kube-system"))
    assert needs.namespaces == ()
    assert {(o.namespace, o.name) for o in needs.objects} == {("kube-system", "a")}
    names = {item["metadata"]["name"] for item in policies(needs, Form.API)}
    assert GOVERNED_POLICY not in names
