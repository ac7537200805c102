"""Deployments that really run, from the one image a node has, and what their pods say."""

from __future__ import annotations

from pathlib import Path

from k8s_bridge.status import condition_of
from ledger.types import JsonObject
from tests.support.manifests import deployment
from tests.support.real_node.images import PORT

DEADLINE_S, PATIENT_S = 20, 240
"""How long Kubernetes waits before it calls a Deployment failed that shall fail, and one that shall not."""
_BURN = (
    "while :; do if [ -e /load/on ]; then i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; "
    "else sleep 0.2; fi; done"
)


def web(namespace: str, image: str, replicas: int = 2) -> JsonObject:
    """Give web servers that are ready once they answer."""
    made = deployment("web", namespace, replicas, image)
    container = _container(made)
    container["readinessProbe"] = {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1}
    return _prompt(made)


def bare(namespace: str, image: str, command: str) -> JsonObject:
    """Give one process without a probe: ready as long as it runs."""
    made = deployment("bare", namespace, 1, image)
    _container(made)["command"] = ["sh", "-c", command]
    return _prompt(made)


def burning(namespace: str, image: str, load: Path) -> JsonObject:
    """Give processes that use a tenth of a core each while there is a file ``on`` in ``load``."""
    made = deployment("burning", namespace, 1, image)
    container = _container(made)
    container |= {
        "command": ["sh", "-c", _BURN],
        "resources": {"limits": {"cpu": "100m"}},
        "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1},
        "volumeMounts": [{"name": "load", "mountPath": "/load"}],
    }
    template = made["spec"]["template"]["spec"]
    template["volumes"] = [{"name": "load", "hostPath": {"path": str(load), "type": "Directory"}}]
    template["containers"] = [container]
    return _prompt(made)


def with_command(made: JsonObject, command: str, deadline_s: int = DEADLINE_S) -> JsonObject:
    """Give a Deployment whose containers run something else, which fails."""
    container = {**_container(made), "command": ["sh", "-c", command]}
    template = {**made["spec"]["template"], "spec": {**made["spec"]["template"]["spec"]}}
    template["spec"]["containers"] = [container]
    return {**made, "spec": {**made["spec"], "template": template, "progressDeadlineSeconds": deadline_s}}


def with_image(made: JsonObject, image: str) -> JsonObject:
    """Give a Deployment of another image, which is not there."""
    _container(made)["image"] = image
    made["spec"]["progressDeadlineSeconds"] = DEADLINE_S
    return made


def is_ready(pod: JsonObject) -> bool:
    """Whether a pod is ready, and stays."""
    ready = condition_of(pod, "Ready") or {}
    return ready.get("status") == "True" and "deletionTimestamp" not in pod["metadata"]


def containers(pods: list[JsonObject]) -> dict[str, tuple[str, int]]:
    """Give of each pod, by its UID, the container that runs in it and how often it was started again."""
    return {
        pod["metadata"]["uid"]: (status["containerID"], status["restartCount"])
        for pod in pods
        for status in pod["status"].get("containerStatuses", [])
    }


def _container(made: JsonObject) -> JsonObject:
    found: JsonObject = made["spec"]["template"]["spec"]["containers"][0]
    return found


def _prompt(made: JsonObject) -> JsonObject:
    """No pull, and no long waits: for what never becomes ready, and for what ends."""
    _container(made)["imagePullPolicy"] = "Never"
    made["spec"]["progressDeadlineSeconds"] = PATIENT_S
    made["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 1
    return made
