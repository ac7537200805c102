"""``conclave key identity | rotate | recover``: subjects whose keys change.

Owns the naming of their key files: ``NAME.0.pem``, ``NAME.1.pem``, …; the home names the active one, the
next one is the next number. Promises that a key the ledger was told to expect is on disk before that, that
the home follows only a proven change, and that no file is ever overwritten.
"""

from __future__ import annotations

import dataclasses
import re
import secrets
from pathlib import Path
from typing import Any

import click

from conclave import home as homes
from conclave.client import Client, connect, open_key, open_key_file
from conclave.command import Session, subject_names, verb
from conclave.home import Home, Subject, load
from conclave.output import to_yaml
from conclave.people import person
from identity.signer import Signer, generate_key
from ledger import shape, standard
from ledger.bodies import key_change_body
from ledger.errors import Code, Refused
from ledger.inception import did_conclave, inception, inception_proofs
from ledger.key_set import KeyObject, Purpose, commitment
from ledger.keys import Algorithm, PublicKey
from ledger.types import ActionKind, JsonObject, SubjectKind

_PURPOSES = {
    SubjectKind.HUMAN: (Purpose.APPROVE, Purpose.GUARD, Purpose.PROPOSE, Purpose.ROTATE),
    SubjectKind.AGENT: (Purpose.AUTHENTICATE, Purpose.PROPOSE, Purpose.ROTATE),
    SubjectKind.NODE: (Purpose.GUARD, Purpose.REPORT, Purpose.ROTATE),
}
_NUMBERED = re.compile(r"file:keys/(?P<name>[a-z0-9-]+)\.(?P<number>[0-9]{1,6})\.pem")


@verb(
    "identity",
    "conclave key identity erin --organisation C > erin.yaml",
    "conclave key identity erin --organisation C --post-quantum --encrypt > erin.yaml",
    "conclave key identity watcher --kind agent --organisation A > watcher.yaml",
    "conclave key identity east-node --kind node --cluster east --organisation A > east-node.yaml",
)
@click.argument("name")
@click.option("--organisation", required=True, metavar="NAME")
@click.option(
    "--kind", type=click.Choice([kind.value for kind in _PURPOSES]), default="human", show_default=True
)
@click.option("--cluster", metavar="NAME", help="The cluster a bridge's node serves.")
@click.option("--post-quantum", is_flag=True, help="Composite keys, ML-DSA-65 and ed25519.")
@click.option("--encrypt", is_flag=True, help="Ask for a passphrase and encrypt the files.")
def identity(session: Session, name: str, organisation: str, **options: Any) -> None:
    """Make an identity whose keys can change: an active key, the next one, and its Identity object as YAML.

    Propose the YAML to have it registered. Keep the next key elsewhere: it is what recovers the identity.
    """
    home = load(session.home)
    shape.name(name, "NAME")
    if any(subject.name == name for subject in home.subjects):
        raise Refused(
            Code.USAGE, got=f"{name} is there already", expected="a new name", todo="see: conclave key list"
        )
    algorithm = Algorithm.COMPOSITE if options["post_quantum"] else Algorithm.ED25519
    passphrase = _passphrase() if options["encrypt"] else None
    kind, cluster = SubjectKind(options["kind"]), options["cluster"]
    active, following = (generate_key(_file(home, name, n), passphrase, algorithm) for n in (0, 1))
    begun = inception([_key_object(active, kind)], [commitment(following.key_id)], secrets.token_hex(32))
    did = did_conclave(home.chain_id, begun)
    spec = {
        "kind": kind.value,
        "organisation": organisation,
        "cluster": cluster,
        "did": did,
        "inception": begun,
        "proofs": inception_proofs(home.chain_id, did, [active]),
    }
    made = standard.ledger_object("Identity", name, spec)
    subject = Subject(name, did, kind, organisation, f"file:keys/{name}.0.pem", cluster)
    homes.save(dataclasses.replace(home, subjects=(*home.subjects, subject)))
    if not session.output.document(made):
        click.echo(to_yaml(made), nl=False)
    session.output.note(f"made {name}.0.pem, active, and {name}.1.pem, next: move the next one elsewhere")


@verb("rotate", "conclave key rotate erin", "conclave key rotate erin -o json")
@click.argument("name", shell_complete=subject_names)
@click.option("--encrypt", is_flag=True, help="Ask for a passphrase and encrypt the new file.")
def rotate(session: Session, name: str, *, encrypt: bool) -> None:
    """Replace a subject's key by the next one it committed to; the old one retires."""
    _change(session, name, ActionKind.ROTATION, _passphrase() if encrypt else None)


@verb("recover", "conclave key recover erin", "conclave key recover erin -o json")
@click.argument("name", shell_complete=subject_names)
@click.option("--encrypt", is_flag=True, help="Ask for a passphrase and encrypt the new file.")
def recover(session: Session, name: str, *, encrypt: bool) -> None:
    """Replace a lost or stolen key by the next one; the old one is revoked, and an incident is made."""
    _change(session, name, ActionKind.RECOVERY, _passphrase() if encrypt else None)


def _change(session: Session, name: str, kind: ActionKind, passphrase: bytes | None) -> None:
    with connect(session) as client:
        home = client.home
        subject = home.subject(name)
        number = _number(subject)
        new = open_key_file(f"file:{_file(home, name, number + 1).absolute()}", name)
        if _is_done(client, subject, new):
            adopted = _adopt(home, subject, number + 1)
            if not session.output.document({"name": name, "did": subject.did, "key": adopted.key}):
                session.output.line(f"the ledger has {new.key_id} already; this home follows", "bold")
            return
        following = _following(_file(home, name, number + 2), name, passphrase, new.algorithm)
        signing = [new, open_key(home, subject)] if kind is ActionKind.ROTATION else [new]
        body = key_change_body(
            kind, [_key_object(new, subject.kind).to_json()], [commitment(following.key_id)]
        )
        proven = client.say(subject, body, signing, is_late=kind is ActionKind.RECOVERY)
        changed = _adopt(home, subject, number + 1)
    document: JsonObject = {
        "name": name,
        "did": subject.did,
        "keyId": new.key_id,
        "key": changed.key,
        "next": f"file:keys/{name}.{number + 2}.pem",
        "height": proven.height,
    }
    if session.output.document(document):
        return
    ended = "retired" if kind is ActionKind.ROTATION else "revoked"
    session.output.line(f"{name} signs with {new.key_id} since height {proven.height}", "bold")
    session.output.line(f"the old key is {ended}; next: {document['next']}, move it elsewhere")
    if subject.cluster is not None:
        session.output.line(
            f"restart the bridge of {subject.cluster}: it reads its key when it starts", "warn"
        )


def _is_done(client: Client, subject: Subject, new: Signer) -> bool:
    """Tell whether an earlier change took effect of which this home never heard."""
    return any(key.key_id == new.key_id for key in person(client.view(), subject.did).active_keys)


def _adopt(home: Home, subject: Subject, number: int) -> Subject:
    changed = dataclasses.replace(subject, key=f"file:keys/{subject.name}.{number}.pem")
    others = tuple(changed if other == subject else other for other in home.subjects)
    homes.save(dataclasses.replace(home, subjects=others))
    return changed


def _following(path: Path, name: str, passphrase: bytes | None, algorithm: Algorithm) -> Signer:
    """Give the key to commit to; one that an interrupted change left behind is used."""
    if path.exists():
        return open_key_file(f"file:{path.absolute()}", name)
    return generate_key(path, passphrase, algorithm)


def _file(home: Home, name: str, number: int) -> Path:
    return home.path / "keys" / f"{name}.{number}.pem"


def _number(subject: Subject) -> int:
    """Give the number of the active key's file.

    Raises:
        Refused: USAGE.
    """
    match = _NUMBERED.fullmatch(subject.key)
    if match is None or match["name"] != subject.name:
        raise Refused(
            Code.USAGE,
            got=f"{subject.name}, with the key {subject.key}",
            expected="a subject made by: conclave key identity",
            todo="a did:key has one key for ever; register a new identity instead",
        )
    return int(match["number"])


def _key_object(signer: Signer, kind: SubjectKind) -> KeyObject:
    purposes = tuple(sorted(purpose.value for purpose in _PURPOSES[kind]))
    return KeyObject(PublicKey(signer.algorithm, signer.public_key), purposes)


def _passphrase() -> bytes:
    asked: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True)
    return asked.encode()
