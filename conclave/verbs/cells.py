"""What people see of each kind of ledger record: the cells of its row in a table.

Owns no reading. Works on the JSON of records that were proven.
"""

from __future__ import annotations

from collections.abc import Sequence

from conclave.client import Client
from ledger.types import JsonObject


def _change(item: JsonObject) -> str:
    change = item["change"]
    if change["operation"] == "configure":
        return f"configure {' '.join(change['objects'])}"
    suffix = f" to {change['toRevision']}" if change["operation"] == "rollback" else ""
    return f"{change['operation']} {change['release']}{suffix}"


def proposal_cells(client: Client, item: JsonObject) -> Sequence[object]:
    """Give the row of a proposal."""
    return (
        item["number"],
        _change(item),
        item["state"],
        client.home.name_of(item["proposer"]),
        [client.home.name_of(entry["signer"]) for entry in item["approvals"]],
        item["height"],
        item["finalHeight"],
        item["id"],
    )


def identity_cells(_: Client, item: JsonObject) -> Sequence[object]:
    """Give the row of an identity."""
    active = [key["keyId"] for key in item["keys"] if key["state"] == "active"]
    state = "deactivated" if item["deactivated"] is not None else "active" if active else "revoked"
    keys = active if item["deactivated"] is None else []
    return (item["name"], item["kind"], item["organisation"], item["cluster"], state, keys, item["did"])


def role_cells(_: Client, item: JsonObject) -> Sequence[object]:
    """Give the row of a role."""
    rules = [
        f"{rule['effect']} {' '.join(rule['verbs'])} on {' '.join(rule['kinds'][:4])}"
        + (f" and {len(rule['kinds']) - 4} more kinds" if len(rule["kinds"]) > 4 else "")
        for rule in item["spec"]["rules"]
    ]
    return (item["name"], item["version"], "; ".join(rules))


def binding_cells(client: Client, item: JsonObject) -> Sequence[object]:
    """Give the row of a role binding."""
    spec = item["spec"]
    return (
        item["name"],
        client.home.name_of(spec["subject"]),
        spec["role"],
        spec["namespaces"],
        spec["clusters"],
        spec["parent"],
        spec["notAfter"],
    )


def rule_cells(_: Client, item: JsonObject) -> Sequence[object]:
    """Give the row of an approval rule."""
    match, require = item["spec"]["match"], item["spec"]["require"]
    quorum = [f"{entry['count']} {entry['role']}" for entry in require["quorum"]]
    return (
        item["name"],
        require["humans"],
        require["organisations"],
        quorum,
        require["delaySeconds"],
        match["operations"],
        match["clusters"],
        match["namespaces"],
    )


def break_glass_cells(client: Client, item: JsonObject) -> Sequence[object]:
    """Give the row of a break-glass object."""
    spec = item["spec"]
    members = [client.home.name_of(did) for did in spec["members"]]
    return (
        item["name"],
        spec["count"],
        members,
        spec["operations"],
        spec["clusters"],
        spec["namespaces"],
        spec["usesMax"],
    )


def freeze_cells(client: Client, item: JsonObject) -> Sequence[object]:
    """Give the row of a freeze."""
    scope = (item["clusters"], item["namespaces"], item["releases"])
    return (item["name"], *scope, client.home.name_of(item["by"]), item["height"], item["reason"])


def policy_cells(client: Client, item: JsonObject) -> Sequence[object]:
    """Give the row of an agent's policy."""
    spec = item["spec"]
    calls = spec["budget"]["calls"]
    return (
        item["name"],
        item["version"],
        [tool["tool"] for tool in spec["tools"]],
        f"{calls['capacity']} in {calls['perSeconds']} s",
        spec["openProposalsMax"],
        [client.home.name_of(did) for did in spec.get("guards", ())],
        spec["agent"],
    )


def suspension_cells(client: Client, item: JsonObject) -> Sequence[object]:
    """Give the row of a suspension."""
    shown = (item["code"], item["height"], item["incident"], item["reason"], item["agent"])
    return (item["name"], client.home.name_of(item["by"]), *shown)


def anchor_cells(client: Client, item: JsonObject) -> Sequence[object]:
    """Give the row of the newest anchor of an audit log."""
    shown = ("log", "number", "count", "height", "head", "digest")
    return (client.home.name_of(item["node"]), *(item[field] for field in shown))


def observation_cells(client: Client, item: JsonObject) -> Sequence[object]:
    """Give the row of an observation; its text is what a model wrote, on one line."""
    shown = ("number", "about", "release", "height", "text")
    return (client.home.name_of(item["agent"]), *(item[field] for field in shown))


def rollout_cells(client: Client, item: JsonObject) -> Sequence[object]:
    """Give the row of a rollout."""
    waves = f"{min(item['wave'] + 1, len(item['waves']))}/{len(item['waves'])}"
    clusters = [f"{cluster['name']}:{cluster['state']}" for cluster in item["clusters"]]
    paused = item["pausedBy"] and client.home.name_of(item["pausedBy"])
    return (item["release"], item["revision"], item["state"], waves, clusters, paused)


def report_cells(_: Client, item: JsonObject) -> Sequence[object]:
    """Give the row of a report."""
    shown = ("cluster", "release", "revision", "sequence", "outcome", "health")
    return (*(item[field] for field in shown), len(item["objects"]), item["height"])
