"""``conclave key``: make, list and show keys.

Promises never to print or move a private half.
"""

from __future__ import annotations

import dataclasses

import click

from conclave import home as homes
from conclave.client import open_key
from conclave.command import CONTEXT, Session, VerbGroup, subject_names, verb
from conclave.home import Subject, load
from conclave.verbs import key_change, key_serve
from identity.signer import generate_key
from ledger import shape
from ledger.errors import Code, Refused
from ledger.types import SubjectKind

_KINDS = [SubjectKind.HUMAN.value, SubjectKind.AGENT.value]


_EXAMPLES = (
    "conclave key new dave --organisation C",
    "conclave key identity erin --organisation C > erin.yaml",
    "conclave key rotate erin",
    "conclave key serve east-node",
    "conclave key show alice",
)


@click.group("key", cls=VerbGroup, examples=_EXAMPLES, context_settings=CONTEXT)
def command() -> None:
    """Make, list, show, rotate and recover keys; say which one a bridge has."""


@verb("list", "conclave key list", "conclave key list -o json")
def list_(session: Session) -> None:
    """List the subjects whose keys this home refers to."""
    home = load(session.home)
    items = [
        {"name": s.name, "kind": s.kind.value, "organisation": s.organisation, "did": s.did, "key": s.key}
        for s in home.subjects
    ]
    if not session.output.document({"items": items}):
        columns = ["name", "kind", "organisation", "did", "key"]
        session.output.table(columns, [list(item.values()) for item in items])


@verb(
    "new",
    "conclave key new dave --organisation C",
    "conclave key new watcher --kind agent --organisation A --encrypt",
)
@click.argument("name")
@click.option("--organisation", required=True, metavar="NAME")
@click.option("--kind", type=click.Choice(_KINDS), default=_KINDS[0], show_default=True)
@click.option("--encrypt", is_flag=True, help="Ask for a passphrase and encrypt the file.")
def new(session: Session, name: str, organisation: str, kind: str, *, encrypt: bool) -> None:
    """Make a key and remember its subject in this home.

    The ledger refuses a new subject until it is registered: propose an Identity object. One key for ever;
    for keys that can change, see: conclave key identity.
    """
    home = load(session.home)
    shape.name(name, "NAME")
    if any(subject.name == name for subject in home.subjects):
        raise Refused(
            Code.USAGE, got=f"{name} is there already", expected="a new name", todo="see: conclave key list"
        )
    passphrase = (
        click.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True) if encrypt else ""
    )
    signer = generate_key(home.path / "keys" / f"{name}.pem", passphrase.encode() or None)
    subject = Subject(name, signer.did, SubjectKind(kind), organisation, f"file:keys/{name}.pem")
    homes.save(dataclasses.replace(home, subjects=(*home.subjects, subject)))
    document = {"name": name, "did": signer.did, "keyId": signer.key_id, "key": subject.key}
    if not session.output.document(document):
        session.output.line(f"{name} {signer.did}")


@verb("show", "conclave key show alice", "conclave key show alice -o json")
@click.argument("name", shell_complete=subject_names)
def show(session: Session, name: str) -> None:
    """Open a subject's key and show its public facts."""
    home = load(session.home)
    subject = home.subject(name)
    signer = open_key(home, subject)
    document = {
        "name": subject.name,
        "kind": subject.kind.value,
        "organisation": subject.organisation,
        "did": subject.did,
        "keyId": signer.key_id,
        "publicKey": signer.public_key.hex(),
        "key": subject.key,
    }
    if not session.output.document(document):
        session.output.table(["field", "value"], list(document.items()))


for _verb in (list_, new, show, key_change.identity, key_change.rotate, key_change.recover, key_serve.serve):
    command.add_command(_verb)
