"""The command line's one way to the ledger.

Owns the joining of home, endpoints, trust and keys. Promises that reading goes through ``VerifiedReader``
alone and writing through ``consensus.submit`` alone, so that nothing unverified is ever shown as the
ledger's word.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from conclave.command import Session
from conclave.home import Home, Subject, load
from consensus import speaking
from consensus.reader import VerifiedReader, View
from consensus.rpc import open_panel
from consensus.speaking import Speaker
from consensus.submit import Patience, ProvenReceipt
from consensus.trust_store import TrustRoot, TrustStore, read_genesis
from consensus.witness import Panel
from identity.signer import Signer, open_signer
from ledger import codec
from ledger.errors import Code, ConclaveError, EnvironmentFault, Refused
from ledger.keys import DID_KEY_PREFIX
from ledger.types import JsonObject

SUBMIT_SECONDS = 60.0


class Client:
    """A ledger through this home: ``view`` to read, ``say`` to write."""

    def __init__(self, home: Home, rpc: Panel, reader: VerifiedReader) -> None:
        self.home, self.rpc, self.reader = home, rpc, reader

    def view(self) -> View:
        """Give the newest proven state.

        Raises:
            VerificationFailed, EnvironmentFault: as ``VerifiedReader.at``.
        """
        return self.reader.at()

    def say(
        self,
        subject: Subject,
        body: bytes,
        signing: Sequence[Signer] | None = None,
        *,
        is_late: bool = False,
    ) -> ProvenReceipt:
        """Sign ``body`` as ``subject``, send it and give the proven receipt.

        Args:
            subject: who speaks.
            body: an action.
            signing: the keys that sign; the subject's own if not given.
            is_late: as ``speaking.Speaker``.

        Raises:
            Refused: KEY_FILE_INVALID, KEY_NOT_OF_SIGNER, or the ledger's own refusal.
            VerificationFailed: STALE, and as ``consensus.submit``.
            EnvironmentFault: as ``consensus.submit``.
        """
        keys = list(signing) if signing is not None else [open_key(self.home, subject)]
        patience = Patience(timeout_seconds=SUBMIT_SECONDS)
        return speaking.say(
            self.rpc, self.reader, Speaker(subject.did, keys, is_late=is_late), body, patience=patience
        )


@contextmanager
def connect(session: Session) -> Iterator[Client]:
    """Open the home and its ledger; closes the connections at the end.

    Raises:
        EnvironmentFault: HOME_INVALID, TRUST_STORE_CORRUPT.
        VerificationFailed: TRUST_ROOT_MISMATCH.
    """
    home = load(session.home)
    root = trust_root(home)
    home.client_trust.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = TrustStore(home.client_trust)
    store.ensure(root)
    rpc = open_panel(home.endpoints, home.client_trust.parent)
    try:
        yield Client(home, rpc, VerifiedReader(rpc, store, clock=time.time_ns))
    finally:
        rpc.close()


def trust_root(home: Home) -> TrustRoot:
    """Give the root of trust: the header a person named, else the genesis validators.

    Raises:
        EnvironmentFault: HOME_INVALID where the genesis is missing, unreadable or of another chain.
    """
    if home.root is not None:
        return TrustRoot.at(home.chain_id, home.root.height, bytes.fromhex(home.root.hash))
    try:
        root = read_genesis(home.genesis)
    except Refused as error:
        raise _bad_genesis(home, str(error)) from error
    if root.chain_id != home.chain_id:
        raise _bad_genesis(home, f"chain {root.chain_id}, while ledger.json says {home.chain_id}")
    return root


def open_key(home: Home, subject: Subject) -> Signer:
    """Open a subject's key; asks for a passphrase on a terminal, or takes CONCLAVE_PASSPHRASE.

    Raises:
        Refused: KEY_FILE_INVALID; KEY_NOT_OF_SIGNER where the key is not the subject's.
        EnvironmentFault: KEY_FILE_INVALID.
    """
    uri = home.key_uri(subject)
    signer = open_key_file(uri, subject.name)
    # Which keys a did:conclave has, the ledger alone knows.
    if subject.did.startswith(DID_KEY_PREFIX) and f"{DID_KEY_PREFIX}{signer.key_id}" != subject.did:
        raise Refused(
            Code.KEY_NOT_OF_SIGNER,
            got=f"{uri} holds {DID_KEY_PREFIX}{signer.key_id}",
            expected=f"the key of {subject.name}, {subject.did}",
            todo="put the right key file back",
            file=uri,
        )
    return signer


def open_key_file(uri: str, name: str) -> Signer:
    """Open the key at ``uri``; ``name`` says whose it is where a passphrase is asked for.

    Raises:
        Refused, EnvironmentFault: KEY_FILE_INVALID.
    """
    given = os.environ.get("CONCLAVE_PASSPHRASE")
    try:
        return open_signer(uri, given.encode() if given else None)
    except Refused:
        if given or not _is_encrypted(uri) or not sys.stdin.isatty():
            raise
    import click

    asked = click.prompt(f"Passphrase of {name}'s key", hide_input=True, err=True)
    return open_signer(uri, asked.encode())


def freshness(view: View) -> JsonObject:
    """Give what a reader of any shown state should know of its age."""
    return {
        "chainId": view.chain_id,
        "height": view.height,
        "ageSeconds": view.age_ns // 10**9,
        "isStale": view.is_stale,
    }


def record_json(record: object) -> JsonObject:
    """Give a ledger record as the JSON the ledger keeps."""
    found: JsonObject = codec.to_json(record)
    return found


def _is_encrypted(uri: str) -> bool:
    try:
        with Path(uri.removeprefix("file:")).open("rb") as file:
            return b"ENCRYPTED" in file.read(64)
    except OSError:
        return False


def _bad_genesis(home: Home, problem: str) -> ConclaveError:
    return EnvironmentFault(
        Code.HOME_INVALID,
        got=f"{home.genesis}: {problem}",
        expected="the genesis of this ledger",
        todo="restore it from a backup or from another member of the ledger",
        file=str(home.genesis),
    )
