"""One proposal: what it says, what it would change, what it still needs.

Promises that what it says is what its proposer signed and that the change is compared with proven content;
what is still missing is the answering node's word and says so. Never judges a proposal.
"""

from __future__ import annotations

from collections.abc import Sequence

from consensus import release_reader
from consensus.reader import View
from ledger import statekeys
from ledger.changes import Change, Configure, Delete, Release, Rollback
from ledger.errors import ConclaveError
from ledger.records import ProposalRecord
from ledger.types import JsonObject, ProposalState
from mcp_server import differences
from mcp_server.node_words import Known, heard
from mcp_server.pruning import clean
from mcp_server.read_tools import Asked, Entry, stored_object, to_json, told

RETRY_AFTER_SECONDS = 15


def explain(asked: Asked) -> Sequence[Entry]:
    """Give a proposal with its differences and what is missing; arguments: number."""
    return [lambda: _explain(asked)]


def _explain(asked: Asked) -> JsonObject:
    view = asked.view
    record = release_reader.proposal(view, asked.arguments["number"]).value
    proposed = release_reader.proposed(view, record.id).value
    found: JsonObject = {
        **told(view, record),
        "reason": proposed.reason,
        "against": proposed.against,
        "difference": _difference(asked, record, proposed.change),
    }
    if found["state"] in (ProposalState.OPEN.value, ProposalState.APPROVED.value):
        human = f"conclave approve {record.number}"
        found |= {
            "nodeSays": _word(asked, record.id),
            "forAHuman": human,
            "retryAfterSeconds": RETRY_AFTER_SECONDS,
        }
    return found


def _word(asked: Asked, identifier: str) -> JsonObject:
    try:
        said = asked.source.ask(identifier)
    except ConclaveError as error:
        return {"proven": False, "name": error.code.name}
    return heard(said, identities_of(asked.view), "code", "missing", "approvers", "state", "risk")


def identities_of(view: View) -> Known:
    """Give the question which names the state of ``view`` proves to be identities'."""

    def known(names: Sequence[str]) -> list[str]:
        keys = [statekeys.identity_name(name) for name in names]
        view.ahead(keys)
        return [name for name, key in zip(names, keys, strict=True) if view.get(key).value is not None]

    return known


def _difference(asked: Asked, record: ProposalRecord, change: Change) -> JsonObject | list[JsonObject] | None:
    view = asked.view
    if isinstance(change, Configure):
        return _of_objects(view, change)
    name = record.change.release
    if name is None or not isinstance(change, Release | Rollback | Delete):
        return None
    # A proposal that was executed made a revision: it is compared with the one before.
    against = _newest(view, name) if record.revision is None else record.revision - 1
    before = _manifests(asked, name, against)
    after: list[JsonObject] = []
    if isinstance(change, Release):
        after = _cleaned(asked, change.manifests)
    elif isinstance(change, Rollback):
        after = _manifests(asked, name, change.to_revision)
    return {"release": name, "revision": against, "objects": differences.of_manifests(before, after)}


def _newest(view: View, name: str) -> int:
    names = release_reader.all_releases(view).value
    return release_reader.release_record(view, name).value.revision if name in names else 0


def _manifests(asked: Asked, name: str, revision: int) -> list[JsonObject]:
    if revision < 1:
        return []
    record = release_reader.release_record(asked.view, name).value
    found = release_reader.release(
        asked.view, record.clusters[0], name, evidence=asked.source.evidence, revision=revision
    )
    return _cleaned(asked, found.value.manifests)


def compared(asked: Asked, before: Sequence[JsonObject], after: Sequence[JsonObject]) -> list[JsonObject]:
    """Give what two contents of a release differ in, secrets taken out before."""
    return differences.of_manifests(_cleaned(asked, before), _cleaned(asked, after))


def _cleaned(asked: Asked, manifests: Sequence[JsonObject]) -> list[JsonObject]:
    # Before they are compared: a path alone no longer tells that its value is a secret.
    return [clean(manifest, asked.source.digest_key) for manifest in manifests]


def _of_objects(view: View, change: Configure) -> list[JsonObject]:
    found: list[JsonObject] = [
        {"object": f"{each.kind}/{each.name}", "change": "removed"} for each in change.remove
    ]
    for put in change.put:
        entry: JsonObject = {"object": f"{put.kind}/{put.name}", "change": "put"}
        try:
            old = stored_object(view, put.kind, put.name)
            found.append(entry | differences.of_values(old.spec, put.spec))
        except ConclaveError:
            found.append({**entry, "change": "added", "spec": to_json(put)["spec"]})
    return found
