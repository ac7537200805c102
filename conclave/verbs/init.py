"""``conclave init``: a new ledger in a new home.

Owns the making of keys, genesis and node homes. Promises that an existing home is never touched, that
every subject of the genesis has its key file, and that the genesis rule can be satisfied by the subjects
made here.
"""

from __future__ import annotations

import re
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from conclave import free_ports
from conclave import home as homes
from conclave.command import Session, verb
from conclave.home import Home, Subject
from consensus.node.genesis import NodeKey
from consensus.node.localnet import PORTS_PER_NODE, Localnet, make_keys, write_localnet
from consensus.node.spec import NodeSpec
from identity.signer import generate_key
from ledger import shape, standard
from ledger.errors import Code, Refused
from ledger.keys import did_key
from ledger.types import JsonObject, SubjectKind

DEFAULT_HUMANS = ("alice:A", "bob:A", "carol:B")
DEFAULT_AGENTS = ("scout:A",)
DEFAULT_CLUSTERS = ("east",)
NODE_ORGANISATION = "infrastructure"
VALIDATORS_MAX = 100
PROPOSAL_TTL_BLOCKS = 10_000
_FOLDERS = ("keys", "nodes", "bridges", "trust", "run")


@dataclass(frozen=True, slots=True)
class _Wish:
    name: str
    humans: tuple[str, ...]
    agents: tuple[str, ...]
    clusters: tuple[str, ...]
    rule: JsonObject


@verb(
    "init",
    "conclave init",
    "conclave init --validators 1 --human ann:ops --human ben:sec",
    "conclave init --cluster east --cluster west --base-port 28000",
)
@click.option(
    "--validators", type=click.IntRange(1, VALIDATORS_MAX), default=4, show_default=True, metavar="N"
)
@click.option(
    "--human", "humans", multiple=True, metavar="NAME:ORGANISATION", help="May propose and approve."
)
@click.option("--agent", "agents", multiple=True, metavar="NAME[:ORGANISATION]", help="May propose only.")
@click.option("--cluster", "clusters", multiple=True, metavar="NAME", help="A cluster with its bridge.")
@click.option("--rule", default="humans=2,organisations=2", show_default=True, help="Who must approve.")
@click.option("--name", "ledger_name", default="conclave", show_default=True, help="Begins the chain id.")
@click.option("--base-port", type=click.IntRange(1024, 65000), metavar="N", help="First port [a free range].")
@click.option("--no-require-digest", is_flag=True, help="Let images without a digest pass.")
def command(session: Session, **options: Any) -> None:
    """Make a ledger: keys, genesis and validators in a new home.

    Without options it makes what the tour uses: 4 validators; alice and bob of organisation A, carol of
    organisation B; the agent scout; one cluster, east.
    """
    wish = _Wish(
        shape.name(options["ledger_name"], "--name"),
        options["humans"] or DEFAULT_HUMANS,
        options["agents"] or (() if options["humans"] else DEFAULT_AGENTS),
        tuple(shape.name(cluster, "--cluster") for cluster in options["clusters"] or DEFAULT_CLUSTERS),
        _rule(options["rule"]),
    )
    chain_id = f"{wish.name[:40]}-{secrets.token_hex(3)}"
    existed = session.home.exists()
    homes.make_folders(session.home, _FOLDERS)
    try:
        chain = (options["validators"], options["base_port"], not options["no_require_digest"])
        home, specs = _make(session.home, chain_id, wish, chain)
    except BaseException:
        _undo(session.home, existed)
        raise
    _tell(session, home, specs, wish.rule)


def _make(
    path: Path, chain_id: str, wish: _Wish, chain: tuple[int, int | None, bool]
) -> tuple[Home, list[NodeSpec]]:
    validators, base_port, digest_required = chain
    subjects = _subjects(path, wish, validators)
    _check_rule(wish.rule, subjects)
    keys = make_keys(validators)
    app_state = {
        "parameters": {"imageDigestRequired": digest_required, "proposalTtlBlocks": PROPOSAL_TTL_BLOCKS},
        "identities": [*map(_identity, subjects), *_nodes(keys)],
        "clusters": [{"name": cluster} for cluster in wish.clusters],
        "objects": standard.objects(
            _of_kind(subjects, SubjectKind.HUMAN),
            _of_kind(subjects, SubjectKind.AGENT),
            approvals=wish.rule["humans"],
            organisations=wish.rule["organisations"],
        ),
    }
    port = base_port or free_ports.in_a_row(PORTS_PER_NODE * validators)
    localnet = Localnet(path / "nodes", chain_id, size=validators, base_port=port)
    planned = write_localnet(localnet, time.time_ns(), app_state, keys)
    specs = [node.spec for node in planned]
    shutil.copyfile(specs[0].paths.genesis, path / "genesis.json")
    for cluster in wish.clusters:
        (path / "bridges" / cluster).mkdir(mode=0o700)
    endpoints = tuple(spec.rpc_url for spec in specs)
    home = Home(path, wish.name, chain_id, endpoints, wish.clusters, tuple(subjects))
    homes.save(home)
    return home, specs


def _subjects(path: Path, wish: _Wish, validators: int) -> list[Subject]:
    wanted: list[tuple[str, str, SubjectKind, str | None]]
    wanted = [(*_named(text, "--human"), SubjectKind.HUMAN, None) for text in wish.humans]
    wanted += [(*_named(text, "--agent", "agents"), SubjectKind.AGENT, None) for text in wish.agents]
    wanted += [(f"bridge-{name}"[:63], NODE_ORGANISATION, SubjectKind.NODE, name) for name in wish.clusters]
    names = [*(name for name, *_ in wanted), *(f"node{i}" for i in range(validators))]
    twin = next((name for name in names if names.count(name) > 1), None)
    if twin is not None:
        raise Refused(Code.USAGE, got=f"{twin} twice", expected="every name once", todo="choose other names")
    subjects = []
    for name, organisation, kind, cluster in wanted:
        signer = generate_key(path / "keys" / f"{name}.pem")
        subjects.append(Subject(name, signer.did, kind, organisation, f"file:keys/{name}.pem", cluster))
    return subjects


def _identity(subject: Subject) -> JsonObject:
    return {
        "did": subject.did,
        "name": subject.name,
        "kind": subject.kind.value,
        "organisation": subject.organisation,
        "cluster": subject.cluster,
    }


def _nodes(keys: tuple[tuple[NodeKey, NodeKey], ...]) -> list[JsonObject]:
    """Give the identity of each validator: the did:key of the key it votes with."""
    return [
        {
            "did": did_key(validator.public),
            "name": f"node{number}",
            "kind": SubjectKind.NODE.value,
            "organisation": NODE_ORGANISATION,
            "cluster": None,
        }
        for number, (validator, _) in enumerate(keys)
    ]


def _of_kind(subjects: list[Subject], kind: SubjectKind) -> list[tuple[str, str]]:
    return [(subject.name, subject.did) for subject in subjects if subject.kind is kind]


def _named(text: str, option: str, default: str = "") -> tuple[str, str]:
    name, _, organisation = text.partition(":")
    organisation = organisation or default
    if not organisation:
        raise Refused(Code.USAGE, got=f"{option} {text}", expected="NAME:ORGANISATION", todo="see --help")
    return shape.name(name, option), shape.text(organisation, option, bytes_max=63)


def _rule(text: str) -> JsonObject:
    match = re.fullmatch(r"humans=([0-9]{1,3}),organisations=([0-9]{1,3})", text)
    if match is None or "0" in {match[1].lstrip("0") or "0", match[2].lstrip("0") or "0"}:
        raise Refused(
            Code.USAGE,
            got=f"--rule {text}",
            expected="humans=N,organisations=M, both at least 1",
            todo="see --help",
        )
    return {"humans": int(match[1]), "organisations": int(match[2])}


def _check_rule(rule: JsonObject, subjects: list[Subject]) -> None:
    humans = [subject for subject in subjects if subject.kind is SubjectKind.HUMAN]
    organisations = {subject.organisation for subject in humans}
    if len(humans) < rule["humans"] or len(organisations) < rule["organisations"]:
        raise Refused(
            Code.GENESIS_INVALID,
            got=f"{len(humans)} humans of {len(organisations)} organisations",
            expected=f"at least {rule['humans']} of {rule['organisations']}",
            todo="nothing could ever be approved: add --human NAME:ORGANISATION, or lower --rule",
        )


def _undo(path: Path, existed: bool) -> None:
    """Remove what a failed init made, so that it can be tried again; only ever a folder that was empty."""
    for entry in _FOLDERS:
        shutil.rmtree(path / entry, ignore_errors=True)
    for file in ("genesis.json", homes.LEDGER_FILE):
        (path / file).unlink(missing_ok=True)
    if not existed:
        path.rmdir()


def _tell(session: Session, home: Home, specs: list[NodeSpec], rule: JsonObject) -> None:
    document = {
        "home": str(home.path),
        "chainId": home.chain_id,
        "endpoints": list(home.endpoints),
        "clusters": list(home.clusters),
        "rule": rule,
        "subjects": [
            {"name": s.name, "kind": s.kind.value, "organisation": s.organisation, "did": s.did}
            for s in home.subjects
        ],
    }
    if session.output.document(document):
        return
    session.output.line(f"ledger {home.chain_id} in {home.path}: {len(specs)} validators", "bold")
    rows = [[s.name, s.kind.value, s.organisation, s.cluster, s.did] for s in home.subjects]
    session.output.table(["name", "kind", "organisation", "cluster", "did"], rows)
    session.output.line(
        f"a release needs {rule['humans']} humans of {rule['organisations']} organisations; next: conclave up"
    )
