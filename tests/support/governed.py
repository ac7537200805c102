"""A cluster installed with least privilege, and the people who try to write to it."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from consensus.verified import Verified
from k8s_bridge.accounts import BREAK_GLASS_GROUP, BRIDGE_ACCOUNT, INSTALLER_GROUP, SYSTEM_NAMESPACE
from k8s_bridge.admission import Form, admission_configuration, policies
from k8s_bridge.client import KubernetesClient
from k8s_bridge.connection import Connection, connect
from k8s_bridge.grants import Needs
from k8s_bridge.objects import key_of
from k8s_bridge.rbac import access
from ledger.errors import EnvironmentFault
from ledger.release import ReleaseRevision
from ledger.types import JsonObject
from tests.support.devkube import devkube
from tests.support.log_entries import log_entries
from tests.support.verified import release, verified

_WRITES = ["create", "update", "patch", "delete", "deletecollection"]
FORBIDDEN, RIGHTS_S = 403, 60.0
GATE = "ManifestBasedAdmissionControlConfig=true"


@dataclass(frozen=True, slots=True)
class Person:
    """The administrator, or with ``group`` somebody in that group alone."""

    connection: Connection
    group: str = ""

    @property
    def client(self) -> KubernetesClient:
        """The administrator's client."""
        return KubernetesClient(self.connection)

    def do(self, method: str, path: str, body: Any = None, **options: Any) -> JsonObject:
        """Send one request as this person."""
        headers = {"Impersonate-User": "ops", "Impersonate-Group": self.group} if self.group else {}
        options["header_params"] = headers
        return self.connection.ask(method, path, body=body, **options)[1]

    def path(self, manifest: JsonObject, *, collection: bool = False) -> str:
        """Give the path of an object, or of what it is created in."""
        key = key_of(manifest)
        name = "" if collection else key.name
        return self.client.kind_of(key.api_version, key.kind).path(key.namespace, name)

    def create(self, manifest: JsonObject) -> JsonObject:
        """Create an object."""
        return self.do("post", self.path(manifest, collection=True), manifest)

    def edit(self, manifest: JsonObject, change: JsonObject, subresource: str = "") -> JsonObject:
        """Change an object by a merge patch."""
        options = {"content_type": "application/merge-patch+json"}
        return self.do("patch", self.path(manifest) + subresource, change, **options)

    def warning(self, manifest: JsonObject, change: JsonObject) -> str:
        """Change an object by a merge patch; give what the API server warned of."""
        headers = {"Impersonate-User": "ops", "Impersonate-Group": self.group}
        options = {"content_type": "application/merge-patch+json", "header_params": headers}
        request = self.connection._dynamic.request
        response = request(
            "patch", self.path(manifest), body=change, serialize=False, query_params=[], **options
        )
        response.release_conn()
        return str(response.headers.get("Warning"))

    def remove(self, manifest: JsonObject) -> JsonObject:
        """Delete an object."""
        return self.do("delete", self.path(manifest))

    def install(self, objects: Sequence[JsonObject]) -> None:
        """Apply the installation, in its order."""
        for item in objects:
            options = {"content_type": "application/apply-patch+yaml", "field_manager": "install"}
            self.do("patch", self.path(item), item, force_conflicts=True, **options)


def refusal(status: int, method: Any, *arguments: Any) -> str:
    """Expect a refusal of this status; give what the API server said."""
    with pytest.raises(EnvironmentFault) as caught:
        method(*arguments)
    assert caught.value.facts["status"] == status, caught.value
    return str(caught.value.got)


def in_scope(
    manifests: Sequence[JsonObject], namespace: str, *, name: str = "guestbook", revision: int = 1
) -> Verified[ReleaseRevision]:
    """Seal a release of the scope ``namespace``."""
    made = release(manifests, name=name, revision=revision).value
    return verified(dataclasses.replace(made, namespace=namespace))


@dataclass(frozen=True, slots=True)
class Installed:
    """An API server that governs the namespaces of some releases."""

    form: Form
    admin: Person
    folder: Path

    @property
    def break_glass(self) -> Person:
        """Somebody who breaks the glass."""
        return Person(self.admin.connection, BREAK_GLASS_GROUP)

    @property
    def installer(self) -> Person:
        """Somebody who installs."""
        return Person(self.admin.connection, INSTALLER_GROUP)

    def bridge(self) -> KubernetesClient:
        """Give a client with the bridge's own identity and nothing else."""
        path = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/serviceaccounts/{BRIDGE_ACCOUNT}/token"
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": []},
        }
        return self.client_of(self.installer.do("post", path, request)["status"]["token"])

    def client_of(self, token: str) -> KubernetesClient:
        """Give a client with this token."""
        config = yaml.safe_load((self.folder / "d" / "kubeconfig").read_text())
        for user in config["users"]:
            user["user"] = {"token": token}
        file = self.folder / f"{sha256(token.encode()).hexdigest()[:8]}.kubeconfig"
        file.write_text(yaml.safe_dump(config))
        return KubernetesClient(connect(str(file), {}))

    def audit(self) -> list[JsonObject]:
        """Give what the API server's audit log says."""
        return log_entries(self.folder / "audit.log")


@contextmanager
def installed(needs: Needs, form: Form) -> Iterator[Installed]:
    """Run an API server with the installation of ``needs``; policies in the API are still to come."""
    with tempfile.TemporaryDirectory(prefix="dk-") as name:
        folder = Path(name)
        arguments = _audited(folder)
        if form is Form.STATIC:
            arguments += _static(folder, needs)
        with devkube(folder / "d", *arguments) as kubeconfig:
            admin = Person(connect(str(kubeconfig), {}))
            for group in (BREAK_GLASS_GROUP, INSTALLER_GROUP):
                admin.create(_full_rights(group))
            found = Installed(form, admin, folder)
            for person in (found.break_glass, found.installer):
                _await_rights(person)
            found.installer.install(access(needs))
            try:
                yield found
            finally:
                admin.connection.close()


def _await_rights(person: Person) -> None:
    """Wait until the API server has heard of a binding that was just made."""
    end = time.monotonic() + RIGHTS_S
    while True:
        try:
            person.do("get", "/api/v1/namespaces")
        except EnvironmentFault as fault:
            if fault.facts.get("status") != FORBIDDEN or time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def _audited(folder: Path) -> list[str]:
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "rules": [{"level": "Metadata", "verbs": _WRITES}],
    }
    (folder / "audit.yaml").write_text(yaml.safe_dump(policy))
    return [f"--audit-policy-file={folder}/audit.yaml", f"--audit-log-path={folder}/audit.log"]


def _static(folder: Path, needs: Needs) -> list[str]:
    made = folder / "policies"
    made.mkdir()
    (made / "conclave.yaml").write_text(yaml.safe_dump_all(policies(needs, Form.STATIC)))
    (folder / "admission.yaml").write_text(yaml.safe_dump(admission_configuration(str(made))))
    return [f"--admission-control-config-file={folder}/admission.yaml", f"--feature-gates={GATE}"]


def _full_rights(group: str) -> JsonObject:
    api = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{api}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": group.replace(":", "-")},
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": api, "kind": "Group", "name": group}],
    }
