"""What a model can read of the ledger: one function a tool, from proven state to lists of JSON objects.

Promises that everything comes from a ``View``, and so is proven; the one exception, what a node says a
proposal still needs, is marked as unproven. Entries are made only when a page needs them. Never writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from consensus import ledger_reader, release_reader, scopes
from consensus.evidence import optional, required, unbound
from consensus.ledger_reader import count_of
from consensus.reader import View
from ledger import codec, statekeys
from ledger import identity as identity_rules
from ledger.authority.objects import StoredObject, read_stored
from ledger.errors import Code, Refused
from ledger.manifest import images, object_id
from ledger.records import ProposalRecord, state_at
from ledger.rollout import RolloutRecord
from ledger.types import JsonObject
from mcp_server.proposer import Proposer
from mcp_server.source import Source

PROBLEMS_MAX = 20
_FINE = ("created", "configured", "unchanged", "deleted")

Entry = Callable[[], JsonObject | None]
"""Makes one entry of a list; None where a filter leaves it out."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question.

    Attributes:
        source: of which ledger.
        view: in which proven state.
        arguments: already read.
        principal: who asks; None for nobody known.
        proposer: speaks for agents; None where this server only reads.
    """

    source: Source
    view: View
    arguments: JsonObject
    principal: str | None = None
    proposer: Proposer | None = None


def clusters(asked: Asked) -> Sequence[Entry]:
    """List clusters with their labels and releases; arguments: name."""
    view, wanted = asked.view, asked.arguments.get("name")

    def entry(name: str) -> JsonObject:
        stored = stored_object(view, "Cluster", name)
        return {
            "name": name,
            "labels": stored.labels,
            "releases": list(release_reader.releases(view, name).value),
            "version": stored.version,
            "height": stored.height,
        }

    names = _one_of(ledger_reader.clusters(view).value, wanted, Code.CLUSTER_UNKNOWN)
    return [partial(entry, name) for name in names]


def releases(asked: Asked) -> Sequence[Entry]:
    """List each release on each cluster: what is final, applied, how it is; arguments: release, cluster."""
    view, cluster = asked.view, asked.arguments.get("cluster")
    named = asked.arguments.get("release")
    if cluster is not None:
        _one_of(ledger_reader.clusters(view).value, cluster, Code.CLUSTER_UNKNOWN)
    found: list[Entry] = []
    for name in (named,) if named is not None else release_reader.all_releases(view).value:
        record = release_reader.release_record(view, name).value
        targets = [each for each in record.clusters if cluster in (None, each)]
        found += [partial(_status, asked, name, each) for each in targets]
    return found


def _status(asked: Asked, name: str, cluster: str) -> JsonObject | None:
    view, evidence = asked.view, asked.source.evidence
    record = release_reader.release_record(view, name).value
    desired = release_reader.desired(view, cluster, name).value
    number = record.revision if desired is None else desired.revision
    revision = release_reader.release(view, cluster, name, evidence=evidence, revision=number).value
    report = release_reader.report(view, cluster, name).value
    health = "pending" if report is None else report.health
    if asked.arguments.get("problems") and health == "current" and report and report.outcome == "applied":
        return None
    rollout = release_reader.rollout(view, name).value
    return {
        "release": name,
        "cluster": cluster,
        "state": record.state.value,
        "revision": revision.revision,
        "newestRevision": record.revision,
        "finalHeight": revision.height,
        "appliedRevision": report.revision if report else None,
        "outcome": report.outcome if report else "pending",
        "health": health,
        "reportHeight": report.height if report else None,
        "rollout": None if rollout is None else _rollout(rollout),
        "problems": [] if report is None else _problems(report.objects),
        "approvers": [who(view, did) for did in revision.approvers],
    }


def _rollout(rollout: RolloutRecord) -> JsonObject:
    return {
        "revision": rollout.revision,
        "state": rollout.state.value,
        "wave": min(rollout.wave + 1, len(rollout.waves)),
        "waves": len(rollout.waves),
        "pausedBy": rollout.paused_by,
    }


def _problems(objects: Sequence[JsonObject]) -> list[JsonObject]:
    found = [item for item in objects if item.get("health") != "current" or item.get("outcome") not in _FINE]
    listed = found[:PROBLEMS_MAX]
    return listed if len(listed) == len(found) else [*listed, {"more": len(found) - len(listed)}]


def history(asked: Asked) -> Sequence[Entry]:
    """List a release's revisions, the newest first, with who approved; arguments: release."""
    view, name = asked.view, asked.arguments["release"]

    def entry(number: int) -> JsonObject:
        record = view.read(lambda get: scopes.revision_record(get, name, number)).value
        proposal = release_reader.proposal(view, record.authority).value
        return {
            **to_json(record),
            "proposal": proposal.number,
            "proposer": who(view, proposal.proposer),
            "approvers": [who(view, each.signer) for each in proposal.approvals],
        }

    newest = release_reader.release_record(view, name).value.revision
    return [partial(entry, number) for number in range(newest, 0, -1)]


def release_object(asked: Asked, name: str) -> Sequence[Entry]:
    """Give a release's revision and the ids of its objects, or one of them; arguments: revision, object."""
    view, evidence, wanted = asked.view, asked.source.evidence, asked.arguments.get("object")
    record = release_reader.release_record(view, name).value
    number = asked.arguments.get("revision", record.revision)
    revision = release_reader.release(
        view, record.clusters[0], name, evidence=evidence, revision=number
    ).value
    if wanted is not None:
        found = [item for item in revision.manifests if object_id(item) == wanted]
        if not found:
            raise Refused(
                Code.OBJECT_UNKNOWN,
                got=wanted,
                expected="apiVersion/Kind/namespace/name of one of its objects",
                todo="leave `object` out to see them",
            )
        return [lambda: {"object": wanted, "manifest": found[0]}]
    return [
        lambda: {
            "name": name,
            "revision": revision.revision,
            "namespace": revision.namespace,
            "clusters": list(revision.clusters),
            "digest": revision.digest,
            "height": revision.height,
            "approvers": [who(view, did) for did in revision.approvers],
            "objects": [
                {"object": object_id(each), "images": [image for _, image in images(each)] or None}
                for each in revision.manifests
            ],
        }
    ]


def proposals(asked: Asked) -> Sequence[Entry]:
    """List proposals, the newest first; arguments: state, release."""
    view, state, release = asked.view, asked.arguments.get("state"), asked.arguments.get("release")

    def entry(number: int) -> JsonObject | None:
        record = release_reader.proposal(view, number).value
        if release not in (None, record.change.release):
            return None
        return None if state not in (None, state_at(record, view.height + 1).value) else told(view, record)

    count = view.read(lambda get: count_of(get, statekeys.PROPOSALS)).value
    return [partial(entry, number) for number in range(count, 0, -1)]


def incidents(asked: Asked) -> Sequence[Entry]:
    """List freezes, then incidents, the newest first; arguments: release."""
    view, release = asked.view, asked.arguments.get("release")

    def entry(number: int) -> JsonObject | None:
        found = view.read(lambda get: ledger_reader.incident_of(get, number)).value
        return None if release not in (None, found.release) else to_json(found)

    freezes: list[Entry] = [
        partial(lambda freeze: {"kind": "freeze", **to_json(freeze), "by": who(view, freeze.by)}, each)
        for each in ledger_reader.freezes(view).value
        if release is None or release in each.releases or "*" in each.releases
    ]
    count = view.read(lambda get: count_of(get, statekeys.INCIDENTS)).value
    return freezes + [partial(entry, number) for number in range(count, 0, -1)]


def told(view: View, record: ProposalRecord) -> JsonObject:
    """Give a proposal's record as it is told: names for DIDs, who judged, what it changes."""
    return {
        "number": record.number,
        "id": record.id,
        "state": state_at(record, view.height + 1).value,
        "change": to_json(record.change),
        "proposer": who(view, record.proposer),
        "approvals": [who(view, each.signer) for each in record.approvals],
        "rejections": [who(view, each.signer) for each in record.rejections],
        "height": record.height,
        "expires": record.expires,
        "finalHeight": record.final_height,
        "revision": record.revision,
        "breakGlass": record.break_glass,
        "code": record.code,
    }


def who(view: View, did: str) -> str:
    """Give the name of a subject, or the DID of one the ledger does not know."""
    key = statekeys.identity(did)
    found = view.read(lambda get: optional(get, key, identity_rules.read_identity)).value
    return did if found is None or found.did != did else found.name


def stored_object(view: View, kind: str, name: str) -> StoredObject:
    """Give a ledger object.

    Raises:
        Refused: OBJECT_UNKNOWN.
        VerificationFailed: LEDGER_RECORD_INVALID.
    """
    key = statekeys.ledger_object(kind, name)
    if view.get(key).value is None:
        raise Refused(
            Code.OBJECT_UNKNOWN, got=name, expected=f"a {kind} of the ledger", todo="list them to see all"
        )
    stored = view.read(lambda get: required(get, key, read_stored)).value
    if (stored.kind, stored.name) != (kind, name):
        raise unbound(key, f"{stored.kind} {stored.name}", f"{kind} {name}")
    return stored


def to_json(record: object) -> JsonObject:
    """Give a ledger record as the JSON the ledger keeps."""
    found: JsonObject = codec.to_json(record)
    return found


def _one_of(names: Sequence[str], wanted: str | None, code: Code) -> Sequence[str]:
    if wanted is None:
        return names
    if wanted not in names:
        raise Refused(code, got=wanted, expected="a name of the ledger", todo="leave the name out to see all")
    return [wanted]
