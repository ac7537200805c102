"""``conclave get``: the ledger's objects, with proof.

Owns the table of kinds. Promises that everything shown was proven against a verified header.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click

from conclave.client import Client, connect, freshness, record_json
from conclave.command import Session, verb
from conclave.verbs.judge import which
from consensus import release_reader
from consensus.reader import View
from ledger.errors import Code, Refused
from ledger.records import ProposalRecord, state_at
from ledger.types import JsonObject

Read = Callable[[View, str | None], list[JsonObject]]


@dataclass(frozen=True, slots=True)
class _Kind:
    read: Read
    columns: tuple[str, ...]
    cells: Callable[[Client, JsonObject], Sequence[object]]


@verb(
    "get",
    "conclave get releases",
    "conclave get proposal 1 -o yaml",
    "conclave get release guestbook -o json",
    "conclave get identities",
)
@click.argument("kind", metavar="KIND", shell_complete=lambda _ctx, _parameter, word: _starting(word))
@click.argument("name", required=False)
def command(session: Session, kind: str, name: str | None) -> None:
    """Read objects of the ledger, with proof.

    KIND is one of releases, proposals, identities, clusters, rules, reports, parameters. With NAME, and
    with -o json or yaml, a release comes with its manifests and a proposal with its change.
    """
    table = _kind(kind)
    with connect(session) as client:
        view = client.view()
        items = table.read(view, name)
        if not session.output.document({"items": items, "readAt": freshness(view)}):
            session.output.table(table.columns, [table.cells(client, item) for item in items])


def _starting(word: str) -> list[str]:
    return [kind for kind in _KINDS if kind.startswith(word)]


def _kind(word: str) -> _Kind:
    known = (
        word if word in _KINDS else next((k for k in _KINDS if k in {f"{word}s", f"{word[:-1]}ies"}), None)
    )
    if known is None:
        raise Refused(
            Code.USAGE, got=f"kind {word}", expected=" | ".join(_KINDS), todo="see: conclave get --help"
        )
    return _KINDS[known]


def _releases(view: View, name: str | None) -> list[JsonObject]:
    if name is None:
        names = release_reader.all_releases(view).value
        return [record_json(release_reader.release_record(view, each).value) for each in names]
    record = release_reader.release_record(view, name).value
    revision = release_reader.release(view, record.clusters[0], name).value
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
    ]


def _proposal(record: ProposalRecord, view: View) -> JsonObject:
    shown: JsonObject = record_json(record)
    return shown | {"state": state_at(record, view.height + 1).value}


def _identities(view: View, name: str | None) -> list[JsonObject]:
    found = [record_json(item) for item in release_reader.identities(view).value]
    return _named(found, name, ("name", "did"))


def _clusters(view: View, name: str | None) -> list[JsonObject]:
    found = [
        {"name": each, "releases": list(release_reader.releases(view, each).value)}
        for each in release_reader.clusters(view).value
    ]
    return _named(found, name, ("name",))


def _rules(view: View, name: str | None) -> list[JsonObject]:
    return _named([record_json(rule) for rule in release_reader.rules(view).value], name, ("name",))


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
    suffix = f" to {change['toRevision']}" if change["kind"] == "rollback" else ""
    return f"{change['kind']} {change['release']}{suffix}"


_KINDS: dict[str, _Kind] = {
    "releases": _Kind(
        _releases, ("name", "revision", "clusters"), lambda _, i: (i["name"], i["revision"], i["clusters"])
    ),
    "proposals": _Kind(
        _proposals,
        ("number", "change", "state", "proposer", "approvals", "height", "final", "id"),
        lambda client, i: (
            i["number"],
            _change(i),
            i["state"],
            client.home.name_of(i["proposer"]),
            [client.home.name_of(entry["signer"]) for entry in i["approvals"]],
            i["height"],
            i["finalHeight"],
            i["id"],
        ),
    ),
    "identities": _Kind(
        _identities,
        ("name", "kind", "organisation", "cluster", "did"),
        lambda _, i: (i["name"], i["kind"], i["organisation"], i["cluster"], i["did"]),
    ),
    "clusters": _Kind(_clusters, ("name", "releases"), lambda _, i: (i["name"], i["releases"])),
    "rules": _Kind(
        _rules, ("name", "humans", "organisations"), lambda _, i: (i["name"], i["humans"], i["organisations"])
    ),
    "reports": _Kind(
        _reports,
        ("cluster", "release", "revision", "sequence", "outcome", "health", "objects", "height"),
        lambda _, i: (
            i["cluster"],
            i["release"],
            i["revision"],
            i["sequence"],
            i["outcome"],
            i["health"],
            len(i["objects"]),
            i["height"],
        ),
    ),
    "parameters": _Kind(_parameters, ("name", "value"), lambda _, i: (i["name"], i["value"])),
}
