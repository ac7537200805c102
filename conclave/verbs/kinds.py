"""The table of kinds that ``conclave get`` reads: how each is read, and what of it people see.

Promises that everything comes from a ``View``, and so is proven.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from conclave import ledger_lists
from conclave.client import Client, record_json
from conclave.verbs.judge import which
from consensus import release_reader
from consensus.reader import View
from ledger.errors import Code, Refused
from ledger.records import ProposalRecord, state_at
from ledger.types import JsonObject

Read = Callable[[View, str | None], list[JsonObject]]
Cells = Callable[[Client, JsonObject], Sequence[object]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind: how it is read, and its table."""

    read: Read
    columns: tuple[str, ...]
    cells: Cells


def _fields(*columns: tuple[str, str]) -> tuple[tuple[str, ...], Cells]:
    """Give the columns and cells of a table that shows fields as they are: (heading, field)."""
    headings = tuple(heading for heading, _ in columns)
    return headings, lambda _, item: [item[field] for _, field in columns]


def _releases(view: View, name: str | None) -> list[JsonObject]:
    if name is None:
        names = release_reader.all_releases(view).value
        return [record_json(release_reader.release_record(view, each).value) for each in names]
    record = release_reader.release_record(view, name).value
    revision = release_reader.release(view, record.clusters[0], name, revision=record.revision).value
    return [
        record_json(record)
        | {
            "namespace": revision.namespace,
            "digest": revision.digest,
            "height": revision.height,
            "approvers": list(revision.approvers),
            "manifests": list(revision.manifests),
        }
    ]


def _proposals(view: View, name: str | None) -> list[JsonObject]:
    if name is None:
        return [_proposal(record, view) for record in release_reader.proposals(view).value]
    record = release_reader.proposal(view, which(name)).value
    proposed = release_reader.proposed(view, record.id).value
    return [
        _proposal(record, view)
        | {"reason": proposed.reason, "manifests": getattr(proposed.change, "manifests", None)}
        | {
            part: [record_json(item) for item in getattr(proposed.change, part)]
            for part in ("put", "remove")
            if hasattr(proposed.change, part)
        }
    ]


def _proposal(record: ProposalRecord, view: View) -> JsonObject:
    return record_json(record) | {"state": state_at(record, view.height + 1).value}


def _identities(view: View, name: str | None) -> list[JsonObject]:
    return _named([record_json(item) for item in ledger_lists.people(view)], name, ("name", "did"))


def _clusters(view: View, name: str | None) -> list[JsonObject]:
    found = [
        {
            "name": each.name,
            "labels": each.labels,
            "releases": list(release_reader.releases(view, each.name).value),
        }
        for each in ledger_lists.objects(view, "Cluster")
    ]
    return _named(found, name, ("name",))


def _objects(kind: str) -> Read:
    def read(view: View, name: str | None) -> list[JsonObject]:
        return _named([record_json(item) for item in ledger_lists.objects(view, kind)], name, ("name",))

    return read


def _reports(view: View, name: str | None) -> list[JsonObject]:
    found = []
    for cluster in release_reader.clusters(view).value:
        for release in release_reader.releases(view, cluster).value:
            report = release_reader.report(view, cluster, release).value
            if report is not None:
                found.append(record_json(report))
    return _named(found, name, ("release", "cluster"))


def _parameters(view: View, name: str | None) -> list[JsonObject]:
    values = record_json(release_reader.parameters(view).value)
    return _named([{"name": key, "value": value} for key, value in values.items()], name, ("name",))


def _freezes(view: View, name: str | None) -> list[JsonObject]:
    return _named([record_json(item) for item in ledger_lists.freezes(view)], name, ("name",))


def _incidents(view: View, name: str | None) -> list[JsonObject]:
    found = [record_json(item) for item in ledger_lists.incidents(view)]
    for item in found:
        item["name"] = str(item["number"])
    return _named(found, name, ("name", "release"))


def _validators(view: View, name: str | None) -> list[JsonObject]:
    found = [record_json(item) for item in ledger_lists.validators(view).validators]
    return _named(found, name, ("name", "keyId"))


def _rollouts(view: View, name: str | None) -> list[JsonObject]:
    return _named([record_json(item) for item in ledger_lists.rollouts(view)], name, ("release",))


def _named(items: list[JsonObject], name: str | None, fields: tuple[str, ...]) -> list[JsonObject]:
    if name is None:
        return items
    found = [item for item in items if name in {item[field] for field in fields}]
    if not found:
        raise Refused(
            Code.NAME_UNKNOWN,
            got=name,
            expected="one of " + ", ".join(str(item[fields[0]]) for item in items[:20]),
            todo="leave NAME out to see all",
        )
    return found


def _change(item: JsonObject) -> str:
    change = item["change"]
    if change["operation"] == "configure":
        return f"configure {' '.join(change['objects'])}"
    suffix = f" to {change['toRevision']}" if change["operation"] == "rollback" else ""
    return f"{change['operation']} {change['release']}{suffix}"


def _proposal_cells(client: Client, item: JsonObject) -> Sequence[object]:
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


def _identity_cells(_: Client, item: JsonObject) -> Sequence[object]:
    active = [key["keyId"] for key in item["keys"] if key["state"] == "active"]
    state = "deactivated" if item["deactivated"] is not None else "active" if active else "revoked"
    keys = active if item["deactivated"] is None else []
    return (item["name"], item["kind"], item["organisation"], item["cluster"], state, keys, item["did"])


def _rules(item: JsonObject) -> list[str]:
    return [
        f"{rule['effect']} {' '.join(rule['verbs'])} on {' '.join(rule['kinds'][:4])}"
        + (f" and {len(rule['kinds']) - 4} more kinds" if len(rule["kinds"]) > 4 else "")
        for rule in item["spec"]["rules"]
    ]


def _binding_cells(client: Client, item: JsonObject) -> Sequence[object]:
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


def _rule_cells(_: Client, item: JsonObject) -> Sequence[object]:
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


def _break_glass_cells(client: Client, item: JsonObject) -> Sequence[object]:
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


def _freeze_cells(client: Client, item: JsonObject) -> Sequence[object]:
    scope = (item["clusters"], item["namespaces"], item["releases"])
    return (item["name"], *scope, client.home.name_of(item["by"]), item["height"], item["reason"])


def _rollout_cells(client: Client, item: JsonObject) -> Sequence[object]:
    waves = f"{min(item['wave'] + 1, len(item['waves']))}/{len(item['waves'])}"
    clusters = [f"{cluster['name']}:{cluster['state']}" for cluster in item["clusters"]]
    paused = item["pausedBy"] and client.home.name_of(item["pausedBy"])
    return (item["release"], item["revision"], item["state"], waves, clusters, paused)


def _report_cells(_: Client, item: JsonObject) -> Sequence[object]:
    shown = ("cluster", "release", "revision", "sequence", "outcome", "health")
    return (*(item[field] for field in shown), len(item["objects"]), item["height"])


KINDS: dict[str, Kind] = {
    "releases": Kind(
        _releases,
        *_fields(
            ("name", "name"),
            ("revision", "revision"),
            ("healthy", "healthy"),
            ("state", "state"),
            ("clusters", "clusters"),
        ),
    ),
    "proposals": Kind(
        _proposals,
        ("number", "change", "state", "proposer", "approvals", "height", "final", "id"),
        _proposal_cells,
    ),
    "rollouts": Kind(
        _rollouts, ("release", "revision", "state", "wave", "clusters", "paused by"), _rollout_cells
    ),
    "reports": Kind(
        _reports,
        ("cluster", "release", "revision", "sequence", "outcome", "health", "objects", "height"),
        _report_cells,
    ),
    "incidents": Kind(
        _incidents,
        *_fields(
            ("number", "number"),
            ("kind", "kind"),
            ("release", "release"),
            ("revision", "revision"),
            ("new revision", "newRevision"),
            ("cluster", "cluster"),
            ("height", "height"),
            ("reason", "reason"),
        ),
    ),
    "freezes": Kind(
        _freezes,
        ("name", "clusters", "namespaces", "releases", "by", "height", "reason"),
        _freeze_cells,
    ),
    "identities": Kind(
        _identities, ("name", "kind", "organisation", "cluster", "state", "keys", "did"), _identity_cells
    ),
    "clusters": Kind(
        _clusters,
        ("name", "labels", "releases"),
        lambda _, i: (i["name"], [f"{k}={v}" for k, v in i["labels"].items()], i["releases"]),
    ),
    "roles": Kind(
        _objects("Role"),
        ("name", "version", "rules"),
        lambda _, i: (i["name"], i["version"], "; ".join(_rules(i))),
    ),
    "bindings": Kind(
        _objects("RoleBinding"),
        ("name", "subject", "role", "namespaces", "clusters", "parent", "last height"),
        _binding_cells,
    ),
    "rules": Kind(
        _objects("ApprovalRule"),
        ("name", "humans", "organisations", "quorum", "delay", "operations", "clusters", "namespaces"),
        _rule_cells,
    ),
    "break-glasses": Kind(
        _objects("BreakGlass"),
        ("name", "count", "members", "operations", "clusters", "namespaces", "uses"),
        _break_glass_cells,
    ),
    "validators": Kind(
        _validators,
        *_fields(("name", "name"), ("power", "power"), ("key", "keyId"), ("node", "node")),
    ),
    "parameters": Kind(_parameters, *_fields(("name", "name"), ("value", "value"))),
}


def kind_of(word: str) -> Kind:
    """Find a kind by its plural or singular.

    Raises:
        Refused: USAGE.
    """
    plurals = (word, f"{word}s", f"{word}es", f"{word[:-1]}ies")
    known = next((plural for plural in plurals if plural in KINDS), None)
    if known is None:
        raise Refused(
            Code.USAGE, got=f"kind {word}", expected=" | ".join(KINDS), todo="see: conclave get --help"
        )
    return KINDS[known]
