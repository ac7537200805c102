"""Suite ``health``: a Kubernetes object as the API returns it, judged by ``k8s_bridge.health``."""

from __future__ import annotations

from typing import Any

from k8s_bridge.health import health_of


def answer(case: dict[str, Any]) -> dict[str, Any]:
    """Answer one case: ``object`` in, ``verdict`` and ``reason`` out."""
    if not isinstance(case.get("object"), dict):
        return {"verdict": "refused", "reason": "object is not a JSON object"}
    health = health_of(case["object"])
    return {"verdict": health.status.value, "reason": health.reason}
