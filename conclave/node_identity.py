"""``conclave node identity``: what the ledger has to take before a node votes.

Promises that both objects name the key CometBFT signs with in that node's home, and that nothing of its
private half is printed. The identity is the did:key of that key, as for validators of the genesis.
"""

from __future__ import annotations

import click

from conclave.command import Session
from conclave.home import load
from conclave.output import to_yaml
from consensus.node.genesis import load_key
from consensus.node.spec import NodePaths
from ledger import keys, shape, standard
from ledger.types import JsonObject, SubjectKind


def identity(session: Session, number: int, name: str | None, organisation: str, power: int) -> None:
    """Print the ``Identity`` and the ``Validator`` of node ``number`` as YAML.

    Raises:
        Refused: FIELD_INVALID.
        EnvironmentFault: HOME_INVALID, KEY_FILE_INVALID.
    """
    called = shape.name(name or f"node{number}", "--name")
    public = load_key(NodePaths(load(session.home).node(number)).validator_key).public
    did = keys.did_key(public)
    spec: JsonObject = {
        "kind": SubjectKind.NODE.value,
        "organisation": organisation,
        "cluster": None,
        "did": did,
        "inception": None,
        "proofs": [],
    }
    bound = {"node": did, "keyId": keys.key_id(public), "power": power}
    made = [
        standard.ledger_object("Identity", called, spec),
        standard.ledger_object("Validator", called, bound),
    ]
    if not session.output.document({"items": made}):
        click.echo("---\n".join(to_yaml(item) for item in made), nl=False)
