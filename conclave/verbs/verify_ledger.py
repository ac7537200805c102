"""``conclave verify release|proposal``: everything about it checked again, step by step.

Promises to print each step as it passes and to stop at the first that fails, with its code. It trusts the
genesis file of this home and nothing else.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from conclave.client import Client, connect, freshness
from conclave.command import Session
from conclave.errors import exit_code, tell, to_json
from conclave.verbs.judge import which
from consensus import operators, release_reader
from consensus.operators import Evidence
from consensus.reader import View, check_fresh
from ledger.errors import ConclaveError
from ledger.types import JsonObject


def verify_ledger(session: Session, kind: str, name: str, revision: int | None) -> int:
    """Check ``kind`` ``name`` again through this home's nodes; give the exit code.

    Raises:
        ConclaveError: where nothing could be read at all.
    """
    steps: list[JsonObject] = []
    failure: ConclaveError | None = None
    read_at: JsonObject | None = None
    try:
        with connect(session) as client:
            view = client.view()
            read_at = freshness(view)
            is_proposal = kind == "proposal"
            found = _proposal(client, view, name) if is_proposal else _release(client, view, name, revision)
            for text in itertools.chain(_chain(client, view), found):
                steps.append({"step": text, "holds": True})
                session.output.line(f"✓ {text}", "good")
    except ConclaveError as error:
        if read_at is None:
            raise
        failure = error
        steps.append({"step": f"{error.code.name}: {error.got}", "holds": False})
    verdict = "verified" if failure is None else failure.code.name
    document = {"verdict": verdict, "steps": steps, "readAt": read_at}
    if failure is not None and not session.output.is_table:
        session.output.document(document | {"error": to_json(failure)})
        return exit_code(failure)
    if failure is not None:
        session.output.line(f"✗ {verdict}", "bad")
        return tell(failure, session.output)
    if not session.output.document(document):
        session.output.line(f"verdict: {verdict}", "bold")
    return 0


def _chain(client: Client, view: View) -> Iterator[str]:
    proving = client.reader.header(view.height + 1)
    yield f"header {proving.height} of {view.chain_id} is signed by over two thirds, trusted from the genesis"
    check_fresh(view)
    yield f"the header is {view.age_ns // 10**9} s old, within the staleness limit"


def _proposal(client: Client, view: View, name: str) -> Iterator[str]:
    record = release_reader.proposal(view, which(name)).value
    yield f"proposal {record.number} is in the state of height {view.height} (ICS-23 proof)"
    release_reader.proposed(view, record.id)
    yield f"{client.home.name_of(record.proposer)} signed exactly this change, digest {record.digest}"
    yield from _approved(client, view, record.id)


def _approved(client: Client, view: View, identifier: str) -> Iterator[str]:
    evidence = Evidence(view.chain_id)
    approved = view.read(lambda get: operators.approved(get, evidence, identifier)).value
    for approver in approved.approvers:
        name = client.home.name_of(approver.did)
        yield f"{name} of {approver.organisation} signed the approval of this digest"
    record = approved.record
    yield f"the approvals satisfy requirement {record.requirement}; final at height {record.final_height}"


def _release(client: Client, view: View, name: str, revision: int | None) -> Iterator[str]:
    record = release_reader.release_record(view, name).value
    yield f"release {name} is in the state of height {view.height} (ICS-23 proof)"
    number = revision or record.revision
    found = release_reader.release(view, record.clusters[0], name, revision=number).value
    yield f"revision {found.revision}: {len(found.manifests)} objects, digest {found.digest}"
    if found.authority_proposal != found.content_proposal:
        yield from _approved(client, view, found.content_proposal)
    yield from _approved(client, view, found.authority_proposal)
    for cluster in found.clusters:
        report = release_reader.report(view, cluster, name).value
        if report is None:
            yield f"cluster {cluster} has not reported yet"
        else:
            yield f"bridge of {cluster} signed: revision {report.revision} {report.outcome}, {report.health}"
