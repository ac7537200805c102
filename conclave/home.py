"""The folder that holds one ledger's side on this machine.

Owns its layout and ``ledger.json``. Promises that a home is read strictly (a damaged file is named, with
the cure), written atomically, and that key material is only ever referred to by URI. Never opens a key,
never starts anything.

HOME/ledger.json chain id, endpoints, clusters, subjects HOME/genesis.json the root of trust
HOME/keys/NAME.pem private keys of people, agents and bridges HOME/nodes/nodeN/ validators
HOME/bridges/CLUSTER/ bridges: trust.json, bridge-status.json, log/ HOME/clusters/NAME/ a devkube made by
`conclave up` HOME/trust/ what clients on this machine have verified HOME/run/ pid files
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ledger import canonical, shape
from ledger.errors import Code, ConclaveError, EnvironmentFault, Refused, unwritable
from ledger.limits import CHAIN_ID_BYTES_MAX, CLUSTERS_MAX, MIB
from ledger.types import Json, JsonObject, SubjectKind

LEDGER_FILE = "ledger.json"
_LEDGER_BYTES_MAX = 4 * MIB
ENDPOINTS_MAX = 100
SUBJECTS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Subject:
    """Somebody whose key this home refers to.

    Attributes:
        name: the short name on the command line and on the ledger.
        did: the DID that signs.
        kind: human, agent or node.
        organisation: the organisation.
        key: URI of the private key; a relative ``file:`` is relative to the home.
        cluster: the cluster a node's bridge serves, else None.
    """

    name: str
    did: str
    kind: SubjectKind
    organisation: str
    key: str
    cluster: str | None = None


@dataclass(frozen=True, slots=True)
class NamedRoot:
    """A header that a person named as the root of trust: its height and its hash, 64 hex digits."""

    height: int
    hash: str


@dataclass(frozen=True, slots=True)
class Home:
    """A ledger as this machine knows it. ``root`` is None where the genesis is the root of trust."""

    path: Path
    name: str
    chain_id: str
    endpoints: tuple[str, ...]
    clusters: tuple[str, ...]
    subjects: tuple[Subject, ...]
    root: NamedRoot | None = None

    @property
    def genesis(self) -> Path:
        """The genesis file, the root of trust."""
        return self.path / "genesis.json"

    @property
    def run(self) -> Path:
        """The folder of pid files."""
        return self.path / "run"

    @property
    def client_trust(self) -> Path:
        """What clients on this machine have verified."""
        return self.path / "trust" / "client.json"

    def trust_files(self) -> list[Path]:
        """List the files in which this machine keeps what it has verified."""
        found = [self.client_trust]
        for cluster in self.clusters:
            found += [self.bridge(cluster) / name for name in ("trust.json", "report-trust.json")]
        return [path for path in found if path.exists()]

    def node(self, number: int) -> Path:
        """Give the home of validator ``number``."""
        return self.path / "nodes" / f"node{number}"

    def nodes(self) -> list[Path]:
        """List the validators' homes that are here, by number."""
        found = [path for path in (self.path / "nodes").glob("node*") if path.name[4:].isdigit()]
        return sorted(found, key=lambda path: int(path.name[4:]))

    def bridge(self, cluster: str) -> Path:
        """Give the folder of a cluster's bridge."""
        return self.path / "bridges" / cluster

    def devkube(self, cluster: str) -> Path:
        """Give the folder of the devkube that stands for a cluster."""
        return self.path / "clusters" / cluster

    def key_uri(self, subject: Subject) -> str:
        """Give the key's URI with the path made absolute."""
        scheme, _, rest = subject.key.partition(":")
        return f"file:{(self.path / rest).absolute()}" if scheme == "file" else subject.key

    def subject(self, name: str) -> Subject:
        """Find a subject by name.

        Raises:
            Refused: NAME_UNKNOWN.
        """
        found = next((subject for subject in self.subjects if subject.name == name), None)
        if found is None:
            raise Refused(
                Code.NAME_UNKNOWN,
                got=name,
                expected="one of " + ", ".join(subject.name for subject in self.subjects),
                todo="see: conclave key list",
            )
        return found

    def speaker(self, name: str | None) -> Subject:
        """Give who signs: ``name``, or the only human.

        Raises:
            Refused: NAME_UNKNOWN; USAGE where there is more than one human and no name.
        """
        if name is not None:
            return self.subject(name)
        humans = [subject for subject in self.subjects if subject.kind is SubjectKind.HUMAN]
        if len(humans) != 1:
            raise Refused(
                Code.USAGE,
                got="nobody named",
                expected="--as NAME, one of " + ", ".join(subject.name for subject in humans),
                todo="say who signs with --as NAME or CONCLAVE_AS",
            )
        return humans[0]

    def bridge_subject(self, cluster: str) -> Subject:
        """Find the node subject that reports for ``cluster``: the first of those that may.

        Raises:
            Refused: NAME_UNKNOWN.
        """
        found = next((subject for subject in self.subjects if subject.cluster == cluster), None)
        if found is None or cluster not in self.clusters:
            raise Refused(
                Code.NAME_UNKNOWN,
                got=f"cluster {cluster}",
                expected="one of " + ", ".join(self.clusters),
                todo="see: conclave get clusters",
            )
        return found

    def name_of(self, did: str) -> str:
        """Give the short name behind a DID, or the DID itself."""
        return next((subject.name for subject in self.subjects if subject.did == did), did)


def load(path: Path) -> Home:
    """Read a home.

    Raises:
        EnvironmentFault: HOME_INVALID, naming the file, the field and the cure.
    """
    file = path / LEDGER_FILE
    try:
        with file.open("rb") as stream:
            content = stream.read(_LEDGER_BYTES_MAX)
    except OSError as error:
        raise EnvironmentFault(
            Code.HOME_INVALID,
            got=f"{file}: {error.strerror}",
            expected="a home made by conclave init",
            todo="run conclave init, or name another home with --home DIR or CONCLAVE_HOME",
            file=str(file),
        ) from error
    try:
        return _read(path, canonical.parse(content))
    except ConclaveError as error:
        raise EnvironmentFault(
            Code.HOME_INVALID,
            got=f"{file}: {error}",
            expected="ledger.json as conclave init writes it",
            todo="restore the file from a backup",
            file=str(file),
            **({"field": error.facts["field"]} if "field" in error.facts else {}),
        ) from error


def save(home: Home) -> None:
    """Write ``ledger.json`` atomically, mode 0600.

    Raises:
        EnvironmentFault: HOME_INVALID.
    """
    document: JsonObject = {
        "name": home.name,
        "chainId": home.chain_id,
        "endpoints": list(home.endpoints),
        "clusters": list(home.clusters),
        "subjects": {subject.name: _subject_json(subject) for subject in home.subjects},
    }
    if home.root is not None:
        document["trustRoot"] = {"height": home.root.height, "hash": home.root.hash}
    file = home.path / LEDGER_FILE
    staged = file.with_name(f"{file.name}.new")
    try:
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            json.dump(document, stream, indent=2)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        staged.replace(file)
    except OSError as error:
        raise unwritable(error, file=str(file)) from error


def make_folders(path: Path, folders: Iterable[str]) -> None:
    """Make a new home and its folders, mode 0700.

    Raises:
        EnvironmentFault: HOME_EXISTS if ``path`` is there and not empty; HOME_INVALID.
    """
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise EnvironmentFault(
                Code.HOME_EXISTS,
                got=f"{path} is there and not empty",
                expected="a folder that does not exist, or is empty",
                todo="choose another with --home DIR, or remove this one if nobody needs its keys",
                file=str(path),
            )
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.chmod(0o700)
        for folder in folders:
            (path / folder).mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise unwritable(error, file=str(path)) from error


def _subject_json(subject: Subject) -> JsonObject:
    return {
        "did": subject.did,
        "kind": subject.kind.value,
        "organisation": subject.organisation,
        "key": subject.key,
        "cluster": subject.cluster,
    }


def _read(path: Path, value: Json) -> Home:
    required = ("name", "chainId", "endpoints", "clusters", "subjects")
    top = shape.fields(value, "ledger.json", required=required, optional=("trustRoot",))
    endpoints = shape.array(top["endpoints"], "endpoints", items_max=ENDPOINTS_MAX)
    clusters = shape.array(top["clusters"], "clusters", items_max=CLUSTERS_MAX)
    subjects = top["subjects"]
    if not isinstance(subjects, dict) or len(subjects) > SUBJECTS_MAX:
        raise shape.invalid("subjects", subjects, "an object of subjects")
    return Home(
        path=path,
        name=shape.text(top["name"], "name", bytes_max=63),
        chain_id=shape.text(top["chainId"], "chainId", bytes_max=CHAIN_ID_BYTES_MAX),
        endpoints=tuple(
            shape.text(item, f"endpoints[{i}]", bytes_max=2048) for i, item in enumerate(endpoints)
        ),
        clusters=tuple(shape.name(item, f"clusters[{i}]") for i, item in enumerate(clusters)),
        subjects=tuple(_read_subject(name, item) for name, item in subjects.items()),
        root=_read_root(top["trustRoot"]) if "trustRoot" in top else None,
    )


def _read_root(value: Json) -> NamedRoot:
    fields = shape.fields(value, "trustRoot", required=("height", "hash"))
    return NamedRoot(
        shape.integer(fields["height"], "trustRoot.height", at_least=1),
        shape.digest(fields["hash"], "trustRoot.hash"),
    )


def _read_subject(name: str, value: Json) -> Subject:
    where = f"subjects.{name}"
    fields = shape.fields(value, where, required=("did", "kind", "organisation", "key", "cluster"))
    cluster = fields["cluster"]
    return Subject(
        name=shape.name(name, where),
        did=shape.did(fields["did"], f"{where}.did"),
        kind=SubjectKind(shape.choice(fields["kind"], f"{where}.kind", list(SubjectKind))),
        organisation=shape.text(fields["organisation"], f"{where}.organisation", bytes_max=63),
        key=shape.text(fields["key"], f"{where}.key", bytes_max=4096),
        cluster=None if cluster is None else shape.name(cluster, f"{where}.cluster"),
    )
