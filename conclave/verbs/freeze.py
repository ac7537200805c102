"""``conclave freeze``: stop everything that would be applied in a scope, at once.

Promises that the scope that is signed is the scope that is shown.
"""

from __future__ import annotations

import click

from conclave.client import connect
from conclave.command import Session, verb
from ledger import shape
from ledger.bodies import freeze_body

_EVERYTHING = ("*",)


@verb(
    "freeze",
    "conclave freeze incident-7 --as bob",
    "conclave freeze no-deploys --cluster 'prod-*' --reason 'holidays' --as carol",
    "conclave freeze shop --namespace shop --release guestbook --as alice",
)
@click.argument("name")
@click.option("--cluster", "clusters", multiple=True, metavar="PATTERN", help="Only these [all].")
@click.option("--namespace", "namespaces", multiple=True, metavar="PATTERN", help="Only these [all].")
@click.option("--release", "releases", multiple=True, metavar="PATTERN", help="Only these [all].")
@click.option("--reason", default="", metavar="TEXT", help="Why.")
def command(
    session: Session,
    name: str,
    clusters: tuple[str, ...],
    namespaces: tuple[str, ...],
    releases: tuple[str, ...],
    reason: str,
) -> None:
    """Stop everything that would be applied in a scope, at once, no approval needed.

    A pattern is a name, '*', or a beginning followed by '*'. It ends by approval:
    conclave remove Freeze/NAME.
    """
    shape.name(name, "NAME")
    scope = {
        "clusters": tuple(sorted(set(clusters))) or _EVERYTHING,
        "namespaces": tuple(sorted(set(namespaces))) or _EVERYTHING,
        "releases": tuple(sorted(set(releases))) or _EVERYTHING,
    }
    with connect(session) as client:
        speaker = client.home.speaker(session.as_name)
        proven = client.say(speaker, freeze_body(name, reason=reason, **scope))
    shown = {key: list(value) for key, value in scope.items()}
    if session.output.document({"freeze": name, **shown, "height": proven.height, "signer": speaker.did}):
        return
    session.output.line(f"frozen since height {proven.height}: {name}", "bold")
    session.output.line(", ".join(f"{key} {' '.join(value)}" for key, value in scope.items()))
    session.output.line(f"it ends by approval: conclave remove Freeze/{name} --as NAME")
