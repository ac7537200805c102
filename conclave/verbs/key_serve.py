"""``conclave key serve``: the identity a cluster's bridge reports as.

Promises that a bridge is only ever given an identity that the ledger, proven, lets report for its cluster
with the key that is here. The first of a cluster's subjects in ``ledger.json`` is the one.
"""

from __future__ import annotations

import dataclasses

import click

from conclave import home as homes
from conclave.client import connect, open_key
from conclave.command import Session, subject_names, verb
from conclave.home import Home, Subject
from conclave.people import person
from ledger.errors import Code, Refused
from ledger.identity import IdentityRecord
from ledger.key_set import Purpose


@verb("serve", "conclave key serve east-node", "conclave key serve east-node -o json")
@click.argument("name", shell_complete=subject_names)
def serve(session: Session, name: str) -> None:
    """Have the bridge of NAME's cluster report as NAME from its next start.

    NAME is an identity made by: conclave key identity NAME --kind node --cluster CLUSTER, and registered.
    """
    with connect(session) as client:
        subject = client.home.subject(name)
        key_id = open_key(client.home, subject).key_id
        _check(subject, person(client.view(), subject.did), key_id)
        homes.save(_first(client.home, subject))
    document = {"cluster": subject.cluster, "name": name, "did": subject.did, "keyId": key_id}
    if not session.output.document(document):
        session.output.line(f"the bridge of {subject.cluster} reports as {name} from its next start", "bold")


def _check(subject: Subject, known: IdentityRecord, key_id: str) -> None:
    """Check that the ledger takes reports of the subject's cluster under the key.

    Raises:
        Refused: REPORTER_NOT_OF_CLUSTER, KEY_NOT_OF_SIGNER.
    """
    if subject.cluster is None or known.cluster != subject.cluster:
        raise Refused(
            Code.REPORTER_NOT_OF_CLUSTER,
            got=f"{known.kind.value} {known.name} of {known.cluster or 'no cluster'}",
            expected=f"a node identity of {subject.cluster or 'a cluster'}",
            todo="make one with: conclave key identity NAME --kind node --cluster CLUSTER",
        )
    if not any(key.key_id == key_id and Purpose.REPORT in key.purposes for key in known.active_keys):
        raise Refused(
            Code.KEY_NOT_OF_SIGNER,
            got=key_id,
            expected=f"an active key of {known.name} with purpose report",
            todo="see: conclave get identity " + known.name,
        )


def _first(home: Home, subject: Subject) -> Home:
    """Put a subject before all others of its cluster; nobody else moves."""
    others = [other for other in home.subjects if other != subject]
    at = next((i for i, other in enumerate(others) if other.cluster == subject.cluster), len(others))
    return dataclasses.replace(home, subjects=(*others[:at], subject, *others[at:]))
