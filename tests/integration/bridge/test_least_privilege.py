"""A restricted bridge and a governed cluster, on a real API server, against its administrator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from consensus.verified import Verified
from k8s_bridge.accounts import BRIDGE_ACCOUNT, SYSTEM_NAMESPACE, scope_account, user_of
from k8s_bridge.admission import Form, policies
from k8s_bridge.bell import Bell
from k8s_bridge.changeset import ReleaseOutcome
from k8s_bridge.controllers import CONTROLLER_NAMESPACE
from k8s_bridge.grants import Holding, Needs, needs_of
from k8s_bridge.kinds import BUILT_IN, Resource, full_kind
from k8s_bridge.lease import LEASE_NAME
from k8s_bridge.lease_keeper import LeaseObject
from k8s_bridge.loop import Clocks, Loop
from k8s_bridge.objects import key_of
from k8s_bridge.rbac import access
from k8s_bridge.reconcile import Reconciler, Standing
from k8s_bridge.settings import Periods
from k8s_bridge.source import Wanted
from k8s_bridge.store import InventoryStore
from ledger.errors import Code, EnvironmentFault
from ledger.release import ReleaseRevision
from ledger.types import JsonObject
from tests.support.bridge import Offered, Unwatched
from tests.support.devkube import DevkubeUnavailableError
from tests.support.governed import Installed, Person, in_scope, installed, refusal
from tests.support.manifests import config_map, definition, deployment, namespace_object, service, widget
from tests.support.verified import CHAIN_ID

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

RBAC = "rbac.authorization.k8s.io"
WAIT_S = 120.0
DENIED = "denied request: nothing but the ledger writes here"


def _role(kind: str, name: str, namespace: str = "") -> JsonObject:
    """A role wider than what its author may do: reading secrets."""
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata, "rules": rules}


def _bound(name: str, namespace: str, role: str) -> JsonObject:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": namespace}],
    }


def _priority(value: int = 1) -> JsonObject:
    api = "scheduling.k8s.io/v1"
    return {"apiVersion": api, "kind": "PriorityClass", "metadata": {"name": "shop"}, "value": value}


FIRST = [
    namespace_object("shop"),
    definition(),
    _priority(),
    _role("ClusterRole", "shop-reader"),
    _role("Role", "operator", "shop"),
    _bound("operator", "shop", "operator"),
    config_map("settings"),
    service("web"),
    deployment("web", replicas=2),
    widget("one"),
]
SECOND = [namespace_object("shop"), service("web"), deployment("web", replicas=1), config_map("more")]
"""Everything else of the first goes: a custom object, its definition, roles."""


def _needs() -> Needs:
    return needs_of([Holding("guestbook", "shop", (*FIRST, *SECOND))], {})


@pytest.fixture(scope="module", params=list(Form), ids=lambda form: form.value)
def place(request: pytest.FixtureRequest) -> Iterator[Installed]:
    needs = _needs()
    try:
        with installed(needs, request.param) as found:
            if found.form is Form.API:
                found.installer.install(policies(needs, Form.API))
                _until("the policies bite", lambda: not _slips_in(found.admin))
            yield found
    except DevkubeUnavailableError as error:
        pytest.skip(str(error))


def _slips_in(admin: Person) -> bool:
    """Whether any of the policies lets an administrator through still: each comes into force by itself."""
    made = (
        config_map("probe"),
        config_map("probe", SYSTEM_NAMESPACE),
        _role("ClusterRole", "conclave:probe"),
    )
    token = f"/api/v1/namespaces/{CONTROLLER_NAMESPACE}/serviceaccounts/deployment-controller/token"
    tried = [(admin.path(probe, collection=True), probe) for probe in made] + [(token, _token_request())]
    return any(_passes(admin, path, body) for path, body in tried)


def _passes(admin: Person, path: str, body: JsonObject) -> bool:
    try:
        admin.do("post", path, body, dry_run="All")
    except EnvironmentFault:
        return False
    return True


def _until(what: str, holds: Callable[[], bool], seconds: float = WAIT_S) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


class Restricted:
    """A bridge with its own identity and nothing else."""

    def __init__(self, place: Installed) -> None:
        self.client = place.bridge()
        store = InventoryStore(self.client, CHAIN_ID)
        self.reconciler = Reconciler(self.client, store, Unwatched(), time.time_ns, self.client.in_scope)

    def apply(self, manifests: list[JsonObject], revision: int) -> Standing:
        return self.reconciler.reconcile(in_scope(manifests, "shop", revision=revision))

    def in_place(self, manifests: list[JsonObject], revision: int) -> bool:
        return self.apply(manifests, revision).finding.changes.outcome is ReleaseOutcome.APPLIED

    def applied(self, manifests: list[JsonObject], revision: int) -> Standing:
        standing = self.apply(manifests, revision)
        outcome = standing.finding.changes.outcome
        assert outcome is ReleaseOutcome.APPLIED, [
            (str(r.key), r.reason) for r in standing.finding.changes.results if r.code
        ]
        return standing


@pytest.fixture
def bridge(place: Installed) -> Iterator[Restricted]:
    """A bridge whose first revision is in place; it is forgotten afterwards."""
    found = Restricted(place)
    # What the test before took away may still be going, and the API server may not know of new rights yet.
    _until("the first revision in place", lambda: found.in_place(FIRST, 1))
    yield found
    found.client.close()
    inventory = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps/conclave-inventory-guestbook"
    place.break_glass.do("delete", inventory)


def _live(place: Installed, manifest: JsonObject) -> JsonObject | None:
    return place.admin.client.get(key_of(manifest))


def _pods(place: Installed) -> list[JsonObject]:
    client = place.admin.client
    return client.list(client.kind_of("v1", "Pod"), "shop")[0]


def _running(place: Installed, count: int) -> Callable[[], bool]:
    return lambda: [p["status"]["phase"] for p in _pods(place)] == ["Running"] * count


@pytest.mark.requires("bridge.least-privilege")
def test_the_bridge_applies_prunes_and_upgrades_with_the_generated_rights(
    place: Installed, bridge: Restricted
) -> None:
    results = bridge.applied(SECOND, 2).finding.changes.results
    pruned = {r.key.name for r in results if not r.wanted and r.outcome == "deleted"}
    assert pruned == {"widgets.shop.test", "shop-reader", "operator", "settings", "one", "shop"}
    assert _live(place, config_map("settings")) is None
    _until("the definition goes", lambda: _live(place, definition()) is None)


@pytest.mark.requires("bridge.least-privilege")
def test_the_bridge_itself_may_write_nothing_but_its_records(place: Installed, bridge: Restricted) -> None:
    own = bridge.client
    told = refusal(403, own.apply, config_map("more"))
    assert user_of(BRIDGE_ACCOUNT) in told
    elsewhere = own.in_scope("shop")
    refusal(403, elsewhere.apply, config_map("more", "default"))
    refusal(403, elsewhere.apply, _role("ClusterRole", "not-on-the-ledger"))
    refusal(403, own.in_scope("kube-system").apply, config_map("more"))
    assert place.admin.client.get(key_of(config_map("more", "default"))) is None


@pytest.mark.requires("bridge.least-privilege")
def test_the_bridge_holds_its_lease_and_nobody_else_does(place: Installed, bridge: Restricted) -> None:
    leases = LeaseObject(bridge.client._connection, SYSTEM_NAMESPACE, time.time_ns)
    spec = {"holderIdentity": "a", "leaseDurationSeconds": 10, "leaseTransitions": 0}
    first = leases.read() or leases.write(spec, None)
    assert first is not None
    assert leases.write({**spec, "holderIdentity": "b"}, first) is not None
    assert not leases.untouched()
    path = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM_NAMESPACE}/leases/{LEASE_NAME}"
    assert DENIED in refusal(403, place.admin.do, "delete", path)


@pytest.mark.requires("bridge.least-privilege")
def test_a_kind_that_is_new_on_the_ledger_is_refused_with_what_to_do(bridge: Restricted) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "new", "namespace": "shop"}}
    standing = bridge.apply([*FIRST, secret], 2)
    result = next(r for r in standing.finding.changes.results if r.key.kind == "Secret")
    assert (result.outcome, result.code) == ("failed", Code.KUBERNETES_FORBIDDEN)
    assert "conclave bridge manifests" in result.reason
    assert standing.finding.changes.outcome is ReleaseOutcome.PARTIAL


@pytest.mark.requires("bridge.rights-generated")
def test_the_table_of_kinds_is_what_the_api_server_serves(place: Installed) -> None:
    ask = place.admin.do
    served = {}
    versions = ["v1"] + [v["groupVersion"] for g in ask("get", "/apis")["groups"] for v in g["versions"]]
    for version in versions:
        group = version.rpartition("/")[0]
        for entry in ask("get", f"/{'apis' if group else 'api'}/{version}")["resources"]:
            if "/" not in entry["name"] and "patch" in entry["verbs"]:
                found = Resource(group, entry["name"], entry["namespaced"])
                served[full_kind(group, entry["kind"])] = found
    assert {kind: found for kind, found in served.items() if found.group != "shop.test"} == BUILT_IN


@pytest.mark.requires("bridge.least-privilege")
def test_what_could_be_made_anew_is_told_from_what_could_not_with_these_rights(bridge: Restricted) -> None:
    changed = [_priority(2) if manifest == _priority() else manifest for manifest in FIRST]
    results = bridge.apply(changed, 2).finding.changes.results
    assert [r.code for r in results if r.key.kind == "PriorityClass"] == [Code.OBJECT_IMMUTABLE]


def _pod(namespace: str = "shop", **spec: Any) -> JsonObject:
    containers = [{"name": "main", "image": "registry.test/pause:1"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "rogue", "namespace": namespace},
        "spec": {"containers": containers, **spec},
    }


@pytest.mark.requires("bridge.only-finalized-runs")
def test_the_administrator_may_not_write_what_is_governed(place: Installed, bridge: Restricted) -> None:
    admin, web = place.admin, deployment("web")
    _until("pods run", _running(place, 2))
    pod = {**_pod(), "metadata": {"name": _pods(place)[0]["metadata"]["name"], "namespace": "shop"}}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": pod["metadata"]}
    debugger = {"name": "debug", "image": "registry.test/shell:1"}
    tried: list[tuple[Any, ...]] = [
        (admin.create, _pod()),
        (admin.create, config_map("theirs")),
        (admin.edit, web, {"spec": {"paused": True}}),
        (admin.edit, web, {"spec": {"replicas": 0}}, "/scale"),
        (admin.edit, web, {"status": {"replicas": 9}}, "/status"),
        (admin.edit, pod, {"spec": {"ephemeralContainers": [debugger]}}, "/ephemeralcontainers"),
        (admin.do, "post", admin.path(pod) + "/eviction", eviction),
        (admin.do, "post", admin.path(pod) + "/exec?command=sh&container=main&stdout=true"),
        (admin.remove, web),
        (admin.remove, pod),
        (admin.do, "delete", "/api/v1/namespaces/shop/pods"),
        (admin.do, "delete", "/api/v1/namespaces/shop/configmaps"),
        (admin.remove, namespace_object("shop")),
        (admin.edit, namespace_object("shop"), {"metadata": {"labels": {"a": "b"}}}),
        (admin.edit, _role("ClusterRole", "shop-reader"), {"rules": []}),
        (admin.do, "post", "/api/v1/namespaces/shop/serviceaccounts/default/token", _token_request()),
    ]
    for method, *arguments in tried:
        assert DENIED in refusal(403, method, *arguments), arguments
    assert bridge.apply(FIRST, 1).written is False


def _token_request() -> JsonObject:
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}


@pytest.mark.requires("bridge.only-finalized-runs")
def test_the_administrator_may_write_elsewhere(place: Installed, bridge: Restricted) -> None:
    del bridge
    for mine in (config_map("mine", "default"), deployment("mine", "default"), _role("ClusterRole", "mine")):
        place.admin.create(mine)
        place.admin.edit(mine, {"metadata": {"labels": {"a": "b"}}})
        place.admin.remove(mine)
    place.admin.create(namespace_object("other"))
    place.admin.remove(namespace_object("other"))


@pytest.mark.requires("bridge.admission-protects-itself")
def test_what_the_bridge_is_installed_as_is_its_own(place: Installed, bridge: Restricted) -> None:
    del bridge
    admin = place.admin
    inventory = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps/conclave-inventory-guestbook"
    accounts = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/serviceaccounts"
    controllers = "/api/v1/namespaces/kube-system/serviceaccounts/deployment-controller/token"
    thief = _pod("kube-system", serviceAccountName="deployment-controller")
    tried: list[tuple[Any, ...]] = [
        (admin.do, "delete", inventory),
        (admin.do, "post", f"{accounts}/{BRIDGE_ACCOUNT}/token", _token_request()),
        (admin.do, "post", f"{accounts}/{scope_account('shop')}/token", _token_request()),
        (admin.edit, _role("ClusterRole", "conclave:bridge"), {"rules": []}),
        (admin.create, _role("ClusterRole", "conclave:mine")),
        (admin.remove, namespace_object(SYSTEM_NAMESPACE)),
        (admin.do, "post", controllers, _token_request()),
        (admin.create, thief),
    ]
    if place.form is Form.STATIC:
        api = "admissionregistration.k8s.io/v1"
        webhooks = {"apiVersion": api, "kind": "MutatingWebhookConfiguration", "metadata": {"name": "m"}}
        policy = {**policies(_needs(), Form.API)[0]}
        tried += [(admin.create, webhooks), (admin.create, policy)]
    for method, *arguments in tried:
        assert DENIED in refusal(403, method, *arguments), arguments


@pytest.mark.requires("bridge.admission-protects-itself")
def test_who_installs_may_not_write_what_is_governed(place: Installed, bridge: Restricted) -> None:
    refusal(403, place.installer.create, config_map("theirs"))
    refusal(403, place.installer.edit, deployment("web"), {"spec": {"paused": True}})
    place.installer.edit(_role("ClusterRole", "conclave:bridge"), {"metadata": {"labels": {"a": "b"}}})
    assert bridge.apply(FIRST, 1).written is False


@pytest.mark.requires("bridge.only-finalized-runs")
def test_a_token_of_a_scope_is_not_the_scope(place: Installed, bridge: Restricted) -> None:
    """Only the bridge acts for a scope: a credential of its own, however it came about, is refused."""
    path = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/serviceaccounts/{scope_account('shop')}/token"
    token = place.break_glass.do("post", path, _token_request())["status"]["token"]
    del bridge
    thief = place.client_of(token)
    assert DENIED in refusal(403, thief.apply, config_map("settings", key="stolen"))
    thief.close()


@pytest.mark.requires("bridge.only-finalized-runs")
@pytest.mark.parametrize("account", ["kube-system:replicaset-controller", "shop:operator"])
def test_a_certificate_in_the_name_of_a_controller_is_not_the_controller(
    place: Installed, bridge: Restricted, account: str
) -> None:
    """Anybody who may approve signing requests can have one; the server tells by the credential's id."""
    del bridge
    probe = config_map("certified")
    user = {"Impersonate-User": f"system:serviceaccount:{account}", "Impersonate-Group": "system:masters"}
    credential = "Impersonate-Extra-authentication.kubernetes.io%2Fcredential-id"

    def create(identity: str) -> JsonObject:
        headers = {**user, credential: identity}
        path = place.admin.path(probe, collection=True)
        answer = place.admin.connection.ask("post", path, body=probe, header_params=headers, dry_run="All")
        return answer[1]

    assert DENIED in refusal(403, create, "X509SHA256=" + "0" * 64)
    assert create("JTI=00000000-0000-0000-0000-000000000000")["metadata"]["name"] == "certified"


@pytest.mark.requires("bridge.only-finalized-runs")
def test_controllers_go_on(place: Installed, bridge: Restricted) -> None:
    _until("two pods run", _running(place, 2))
    bridge.applied(SECOND, 2)
    _until("one pod runs", _running(place, 1))
    bridge.applied([namespace_object("shop"), service("web"), config_map("more")], 3)
    _until("its owner's end is a pod's", lambda: _pods(place) == [])
    place.break_glass.remove(namespace_object("shop"))
    _until("the namespace goes", lambda: _live(place, namespace_object("shop")) is None)
    place.installer.install(access(_needs()))


@pytest.mark.requires("bridge.only-finalized-runs")
def test_taking_labels_off_a_namespace_opens_nothing(place: Installed, bridge: Restricted) -> None:
    shop = namespace_object("shop")
    labels = {"metadata": {"labels": {"kubernetes.io/metadata.name": None}}}
    place.break_glass.edit(shop, labels)
    live = _live(place, shop)
    assert live is not None
    assert live["metadata"]["labels"]["kubernetes.io/metadata.name"] == "shop"
    refusal(403, place.admin.create, config_map("theirs"))
    bridge.apply(FIRST, 1)


@pytest.mark.requires("bridge.break-glass-loud")
def test_breaking_the_glass_is_audited_and_undone(place: Installed, bridge: Restricted) -> None:
    assert "break glass: ops" in place.break_glass.warning(deployment("web"), {"spec": {"paused": True}})

    def told() -> bool:
        loud = [e for e in place.audit() if "break-glass" in "".join(e.get("annotations") or {})]
        return any(
            (e["objectRef"]["name"], e["impersonatedUser"]["username"]) == ("web", "ops") for e in loud
        )

    _until("the audit log has it", told)
    standing = bridge.applied(FIRST, 1)
    assert standing.written
    live = _live(place, deployment("web"))
    assert live is not None
    assert not live["spec"].get("paused")


class _Same:
    """Wants one release, for ever."""

    def __init__(self, wanted: Verified[ReleaseRevision]) -> None:
        self.wanted: Wanted | None = Wanted(1, time.time_ns(), {wanted.value.name: wanted}, {})

    def look(self) -> Wanted | None:
        found, self.wanted = self.wanted, None
        return found


@pytest.mark.requires("bridge.admission-window", "bridge.admission-watched")
def test_what_slips_in_while_a_policy_comes_into_force_is_undone() -> None:
    needs = _needs()
    try:
        with installed(needs, Form.API) as place:
            _slip_in_and_undo(place, needs)
    except DevkubeUnavailableError as error:
        pytest.skip(str(error))


def _slip_in_and_undo(place: Installed, needs: Needs) -> None:
    bridge = Restricted(place)
    source = _Same(in_scope(FIRST, "shop"))
    # Nothing is watched and nothing looked at again by itself: only the policy makes it look.
    periods = Periods(resync_s=3600.0, reach_s=0.5, staleness_s=600.0)
    bell, offered = Bell(), Offered()
    loop = Loop(source, bridge.reconciler, offered, bell, periods, Clocks(time.time_ns))
    _turn(loop, lambda: [f.changes.outcome for f in offered.findings[-1:]] == [ReleaseOutcome.APPLIED])
    edit = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "evil.test/x:1"}]}}}}
    # The first write slips in for certain, the others unless the policy bites sooner.
    place.admin.edit(deployment("web"), edit)
    place.installer.install(policies(needs, Form.API))
    with suppress(EnvironmentFault):
        place.admin.edit(deployment("web"), {"spec": {"paused": True}})
        place.admin.remove(config_map("settings"))
    _turn(loop, lambda: loop.account()["releases"]["guestbook"]["undone"] == 1)
    live = _live(place, deployment("web"))
    assert live is not None
    image = live["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == deployment("web")["spec"]["template"]["spec"]["containers"][0]["image"]
    assert not live["spec"].get("paused")
    assert _live(place, config_map("settings")) is not None
    _until("the policies bite", lambda: not _slips_in(place.admin))
    refusal(403, place.admin.edit, deployment("web"), edit)
    _edit_policies_and_be_told(place, needs, loop)
    bridge.client.close()


def _edit_policies_and_be_told(place: Installed, needs: Needs, loop: Loop) -> None:
    """Policies of the API are judged by nobody; the bridge, with its own rights, sees what became of them."""

    def wrong() -> dict[str, str] | None:
        account = loop.account()["admission"]
        found: dict[str, str] | None = account["wrong"] if account["seen"] and not account["error"] else None
        return found

    printed = policies(needs, Form.API)
    governed = next(i for i in printed if i["metadata"]["name"] == "conclave-governed")
    binding = next(i for i in printed if i["spec"].get("policyName") == "conclave-governed")
    _turn(loop, lambda: wrong() == {})
    place.admin.remove(binding)
    _turn(loop, lambda: wrong() == {f"{binding['kind']}/conclave-governed": "absent"})
    place.admin.edit(governed, {"spec": {"validations": [{"expression": "true"}]}})
    _turn(loop, lambda: len(wrong() or ()) == 2)
    _until("it slips in", lambda: _slips_in(place.admin))
    place.admin.edit(deployment("web"), {"spec": {"paused": True}})
    place.installer.install(printed)
    _turn(loop, lambda: wrong() == {} and loop.account()["releases"]["guestbook"]["undone"] == 2)


def _turn(loop: Loop, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline
        loop.step()
