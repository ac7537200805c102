"""The table of kinds that ``conclave get`` reads: how each is read, and what of it people see.

Promises that everything comes from a ``View``, and so is proven.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from conclave.client import Client, record_json
from conclave.people import person
from conclave.verbs import cells
from conclave.verbs.judge import which
from consensus import agent_reader, ledger_reader, release_reader
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
        | {"reason": proposed.reason, "dryRun": proposed.dry_run}
        | {"manifests": getattr(proposed.change, "manifests", None)}
        | {
            part: [record_json(item) for item in getattr(proposed.change, part)]
            for part in ("put", "remove")
            if hasattr(proposed.change, part)
        }
    ]


def _proposal(record: ProposalRecord, view: View) -> JsonObject:
    return record_json(record) | {"state": state_at(record, view.height + 1).value}


def _identities(view: View, name: str | None) -> list[JsonObject]:
    people = sorted(ledger_reader.identities(view).value, key=lambda person: person.name)
    return _named([record_json(item) for item in people], name, ("name", "did"))


def _clusters(view: View, name: str | None) -> list[JsonObject]:
    found = [
        {
            "name": each.name,
            "labels": each.labels,
            "releases": list(release_reader.releases(view, each.name).value),
        }
        for each in ledger_reader.objects(view, "Cluster").value
    ]
    return _named(found, name, ("name",))


def _objects(kind: str) -> Read:
    def read(view: View, name: str | None) -> list[JsonObject]:
        return _named(
            [record_json(item) for item in ledger_reader.objects(view, kind).value], name, ("name",)
        )

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
    return _named([record_json(item) for item in ledger_reader.freezes(view).value], name, ("name",))


def _suspensions(view: View, name: str | None) -> list[JsonObject]:
    found = [record_json(item) for item in agent_reader.suspensions(view).value]
    return _named(found, name, ("name", "agent"))


def _anchors(view: View, name: str | None) -> list[JsonObject]:
    return _named([record_json(item) for item in agent_reader.anchors(view).value], name, ("node", "log"))


def _observations(view: View, name: str | None) -> list[JsonObject]:
    """Give what agents observed; of one agent by name or DID."""
    if name is not None:
        return [record_json(o) for o in agent_reader.observations(view, person(view, name).did).value]
    return [record_json(item) for item in agent_reader.all_observations(view).value]


def _incidents(view: View, name: str | None) -> list[JsonObject]:
    found = [record_json(item) for item in ledger_reader.incidents(view).value]
    for item in found:
        item["name"] = str(item["number"])
    return _named(found, name, ("name", "release"))


def _validators(view: View, name: str | None) -> list[JsonObject]:
    record = ledger_reader.validators(view).value
    found = [record_json(item) for item in (record.validators if record else ())]
    return _named(found, name, ("name", "keyId"))


def _rollouts(view: View, name: str | None) -> list[JsonObject]:
    names = (name,) if name is not None else release_reader.all_releases(view).value
    found = [release_reader.rollout(view, each).value for each in names]
    return _named([record_json(item) for item in found if item is not None], name, ("release",))


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
        cells.proposal_cells,
    ),
    "rollouts": Kind(
        _rollouts, ("release", "revision", "state", "wave", "clusters", "paused by"), cells.rollout_cells
    ),
    "reports": Kind(
        _reports,
        ("cluster", "release", "revision", "sequence", "outcome", "health", "objects", "height"),
        cells.report_cells,
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
        cells.freeze_cells,
    ),
    "identities": Kind(
        _identities, ("name", "kind", "organisation", "cluster", "state", "keys", "did"), cells.identity_cells
    ),
    "clusters": Kind(
        _clusters,
        ("name", "labels", "releases"),
        lambda _, i: (i["name"], [f"{k}={v}" for k, v in i["labels"].items()], i["releases"]),
    ),
    "roles": Kind(
        _objects("Role"),
        ("name", "version", "rules"),
        cells.role_cells,
    ),
    "bindings": Kind(
        _objects("RoleBinding"),
        ("name", "subject", "role", "namespaces", "clusters", "parent", "last height"),
        cells.binding_cells,
    ),
    "rules": Kind(
        _objects("ApprovalRule"),
        ("name", "humans", "organisations", "quorum", "delay", "operations", "clusters", "namespaces"),
        cells.rule_cells,
    ),
    "break-glasses": Kind(
        _objects("BreakGlass"),
        ("name", "count", "members", "operations", "clusters", "namespaces", "uses"),
        cells.break_glass_cells,
    ),
    "validators": Kind(
        _validators,
        *_fields(("name", "name"), ("power", "power"), ("key", "keyId"), ("node", "node")),
    ),
    "agentpolicies": Kind(
        _objects("AgentPolicy"),
        ("name", "version", "tools", "calls", "open proposals", "guards", "agent"),
        cells.policy_cells,
    ),
    "suspensions": Kind(
        _suspensions, ("name", "by", "code", "height", "incident", "reason", "agent"), cells.suspension_cells
    ),
    "anchors": Kind(
        _anchors, ("node", "log", "number", "count", "height", "head", "digest"), cells.anchor_cells
    ),
    "observations": Kind(
        _observations, ("agent", "number", "about", "release", "height", "text"), cells.observation_cells
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
