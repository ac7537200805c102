"""What a kubelet measured of its pods, in the form of the metrics API.

Promises the kubelet's own figures and times, and nothing of a container that it did not measure yet: as a
metrics server does. Source: k8s.io/kubelet stats/v1alpha1 Summary; k8s.io/metrics v1beta1 PodMetrics.
"""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path

import yaml

from ledger.types import JsonObject
from tests.support.real_node.node import ADDRESS, KUBELET_PORT
from tests.support.real_node.room import Room

_PATH = "/stats/summary?only_cpu_and_memory=true"


def used(room: Room, kubeconfig: Path, namespace: str) -> list[JsonObject]:
    """Give the ``PodMetrics`` of a namespace."""
    pods = summary(room, kubeconfig)["pods"]
    found = [_pod(pod) for pod in pods if pod["podRef"]["namespace"] == namespace]
    return [metrics for metrics in found if metrics is not None]


def summary(room: Room, kubeconfig: Path) -> JsonObject:
    """Ask the kubelet, as the administrator of its cluster."""
    token = yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]["token"]
    context = ssl.create_default_context()
    # It signed its certificate itself, and nobody else is in that network.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPConnection(ADDRESS)
    connection.sock = context.wrap_socket(room.connect(ADDRESS, KUBELET_PORT))
    try:
        connection.request("GET", _PATH, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (answer.status, body[:200])
        found: JsonObject = json.loads(body)
        return found
    finally:
        connection.close()


def _pod(pod: JsonObject) -> JsonObject | None:
    containers = pod.get("containers") or []
    usages = [_container(container) for container in containers]
    known = [usage for usage in usages if usage is not None]
    if not known or len(known) != len(usages):
        return None
    reference = pod["podRef"]
    return {
        "metadata": {"name": reference["name"], "namespace": reference["namespace"]},
        "timestamp": containers[0]["cpu"]["time"],
        "window": "1s",
        "containers": known,
    }


def _container(container: JsonObject) -> JsonObject | None:
    cpu = container.get("cpu", {}).get("usageNanoCores")
    memory = container.get("memory", {}).get("workingSetBytes")
    if cpu is None or memory is None:
        return None
    return {"name": container["name"], "usage": {"cpu": f"{cpu}n", "memory": str(memory)}}
