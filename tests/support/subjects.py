"""Subjects, envelopes and a small genesis for tests.

Owns keys made of names, so that every run and every machine has the same ones: never use them for a real
ledger. Promises that two calls with the same arguments give the same bytes.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from nacl.signing import SigningKey

from ledger import actions, bodies, envelope, keys, standard
from ledger.types import API_VERSION, ActionKind, Did, Json, JsonObject

CHAIN_ID = "test-chain"
CLUSTER = "east"
NOT_AFTER = 1000
DIGEST = "ab" * 32
PINNED = "registry.internal/app@sha256:" + "0" * 64


@dataclass(frozen=True, slots=True)
class Subject:
    """Somebody with a key made of their name; an ``envelope.SigningKey``."""

    name: str
    kind: str = "human"
    organisation: str = "a"
    cluster: str | None = None
    _key: list[SigningKey] = field(default_factory=list, compare=False, repr=False)

    @property
    def signing_key(self) -> SigningKey:
        """The private half."""
        if not self._key:
            self._key.append(SigningKey(hashlib.sha256(b"conclave test " + self.name.encode()).digest()))
        return self._key[0]

    @property
    def public_key(self) -> bytes:
        """The 32-byte public half."""
        return bytes(self.signing_key.verify_key)

    @property
    def key_id(self) -> str:
        """The key id of the public half."""
        return keys.key_id(self.public_key)

    @property
    def did(self) -> Did:
        """The subject's did:key."""
        return keys.did_key(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """Sign ``message``."""
        return self.signing_key.sign(message).signature

    def record(self) -> JsonObject:
        """The subject as the genesis spells it."""
        return {
            "did": self.did,
            "name": self.name,
            "kind": self.kind,
            "organisation": self.organisation,
            "cluster": self.cluster,
        }


ALICE = Subject("alice")
BOB = Subject("bob")
CAROL = Subject("carol", organisation="b")
AGENT = Subject("agent", kind="agent")
NODE = Subject("bridge-east", kind="node", cluster=CLUSTER)
OTHER_NODE = Subject("bridge-west", kind="node", cluster="west")
ORGANISATION = Subject("org", kind="organisation")
STRANGER = Subject("stranger")
MEMBERS = (ALICE, BOB, CAROL, AGENT, NODE, OTHER_NODE, ORGANISATION)


def constitution(members: Iterable[Subject], approvals: int = 2, organisations: int = 2) -> list[JsonObject]:
    """Give the standard roles, bindings and rule for some subjects."""
    found = tuple(members)
    return standard.objects(
        [(who.name, who.did) for who in found if who.kind == "human"],
        [(who.name, who.did) for who in found if who.kind == "agent"],
        approvals=approvals,
        organisations=organisations,
    )


@functools.cache
def requirement(approvals: int = 2, organisations: int = 2, ttl_blocks: int = 50) -> str:
    """Give the digest of what the standard rule requires of any change."""
    named = {
        "humans": approvals,
        "organisations": organisations,
        "quorum": [],
        "delaySeconds": 0,
        "ttlBlocks": ttl_blocks,
        "denyThreshold": 1,
        "rules": [["default", 1]],
    }
    return hashlib.sha256(json.dumps(named, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def genesis_document() -> JsonObject:
    """Give a genesis ``app_state``: ``MEMBERS``, two humans of two organisations, clusters east, west."""
    return {
        "parameters": {"imageDigestRequired": True, "proposalTtlBlocks": 50},
        "identities": [member.record() for member in MEMBERS],
        "objects": constitution(MEMBERS),
        "clusters": [{"name": "east"}, {"name": "west"}],
    }


def genesis_bytes(document: Json = None) -> bytes:
    """Give an ``app_state`` as CometBFT would pass it on."""
    return json.dumps(genesis_document() if document is None else document, indent=2).encode()


def configmap(name: str, value: str = "1") -> JsonObject:
    """Give a small manifest."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "demo"},
        "data": {"key": value},
    }


def release(
    name: str = "web", *, clusters: tuple[str, ...] = (CLUSTER,), manifests: list[JsonObject] | None = None
) -> JsonObject:
    """Give a ``Release`` object; without ``manifests``, of an object of its own."""
    own = "settings" if name == "web" else f"settings-{name}"
    return {
        "apiVersion": API_VERSION,
        "kind": "Release",
        "metadata": {"name": name},
        "spec": {
            "clusters": list(clusters),
            "namespace": "demo",
            "manifests": [configmap(own)] if manifests is None else manifests,
            "provenance": {"source": "yaml", "digest": DIGEST, "renderer": "test"},
        },
    }


def seal(
    subject: Subject, body: bytes, nonce: int, *, not_after: int = NOT_AFTER, chain_id: str = CHAIN_ID
) -> bytes:
    """Sign ``body`` as ``subject``."""
    return envelope.seal(
        body, chain_id=chain_id, signer=subject.did, nonce=nonce, not_after_height=not_after, key=subject
    )


def identifier(tx: bytes) -> str:
    """Give the envelope id of a transaction; of a proposal, its id."""
    return envelope.envelope_id(envelope.decode(tx))


def judgement_body(tx: bytes, kind: ActionKind = ActionKind.APPROVAL, required: str | None = None) -> bytes:
    """Give the body that judges exactly the proposal in ``tx``, by default under the test genesis' rule."""
    digest = envelope.decode(tx).digest
    return bodies.judgement_body(kind, identifier(tx), digest, required or requirement())


def report_of(release_name: str = "web", revision: int = 1, sequence: int = 1) -> actions.Report:
    """Give a report of ``CLUSTER`` that all went well."""
    item = {"object": "v1/ConfigMap/demo/settings", "outcome": "created", "health": "current", "code": 0}
    return actions.Report(CLUSTER, release_name, revision, sequence, "applied", "current", (item,))


@dataclass(slots=True)
class Pen:
    """Writes envelopes with fresh nonces, one counter for everybody."""

    nonces: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    not_after: int = NOT_AFTER

    def write(self, subject: Subject, body: bytes) -> bytes:
        """Sign any body."""
        return seal(subject, body, next(self.nonces), not_after=self.not_after)

    def propose(self, subject: Subject, content: JsonObject | None = None) -> bytes:
        """Propose a release."""
        return self.write(subject, bodies.release_body(release() if content is None else content))

    def roll_back(self, subject: Subject, to_revision: int, name: str = "web") -> bytes:
        """Propose a rollback."""
        return self.write(subject, bodies.rollback_body(name, to_revision))

    def approve(self, subject: Subject, tx: bytes) -> bytes:
        """Approve the proposal in ``tx``."""
        return self.write(subject, judgement_body(tx))

    def reject(self, subject: Subject, tx: bytes) -> bytes:
        """Reject the proposal in ``tx``."""
        return self.write(subject, judgement_body(tx, ActionKind.REJECTION))

    def report(self, subject: Subject, report: actions.Report) -> bytes:
        """Report."""
        return self.write(subject, bodies.report_body(report))
