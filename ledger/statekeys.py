"""The state keys of the ledger: one function a kind of record. Source: docs/spec/ledger.md §3."""

from __future__ import annotations

from hashlib import sha256

LEDGER = b"ledger"
PARAMETERS = b"parameters"
PROTOCOL = b"protocol"
CONSTITUTION = b"constitution"
PROPOSALS = b"proposals"
INCIDENTS = b"incidents"
FREEZES = b"freezes"
VALIDATORS = b"validators"
AGENDA = b"agenda"
INDEX_IDENTITIES = b"index/identities"
INDEX_RELEASES = b"index/releases"
INDEX_ROLLOUTS = b"index/rollouts"
INDEX_SUSPENSIONS = b"index/suspensions"
INDEX_AUDITORS = b"index/auditors"
INDEX_OBSERVERS = b"index/observers"


def identity(did: str) -> bytes:
    """Key of a subject's newest record."""
    return f"identity/{did}".encode()


def identity_version(did: str, version: int) -> bytes:
    """Key of one version of a subject's record."""
    return f"identity-version/{did}/{version:010d}".encode()


def key(key_id: str) -> bytes:
    """Key of a public key that was registered."""
    return f"key/{key_id}".encode()


def account(did: str) -> bytes:
    """Key of what a subject has used: nonces, rate, open proposals."""
    return f"account/{did}".encode()


def ledger_object(kind: str, name: str) -> bytes:
    """Key of a ledger object, for example a role."""
    return f"object/{kind}/{name}".encode()


def ledger_object_version(kind: str, name: str, version: int) -> bytes:
    """Key of one version of a ledger object."""
    return f"object-version/{kind}/{name}/{version:010d}".encode()


def index_objects(kind: str) -> bytes:
    """Key of the index of the ledger objects of one kind."""
    return f"index/objects/{kind}".encode()


def removed_object(kind: str, name: str) -> bytes:
    """Key of the last version of a ledger object that was removed."""
    return f"removed/{kind}/{name}".encode()


def identity_name(name: str) -> bytes:
    """Key under which a subject is found by name."""
    return f"identity-name/{name}".encode()


def constitution_version(version: int) -> bytes:
    """Key of one version of the constitution."""
    return f"constitution-version/{version:010d}".encode()


def proposal(identifier: str) -> bytes:
    """Key of a proposal's record."""
    return f"proposal/{identifier}".encode()


def proposal_number(number: int) -> bytes:
    """Key under which a proposal is found by number."""
    return f"proposal-number/{number:010d}".encode()


def content(identifier: str) -> bytes:
    """Key of what a release proposal holds besides its manifests."""
    return f"content/{identifier}".encode()


def envelope(identifier: str) -> bytes:
    """Key of an envelope's bytes, as included."""
    return f"envelope/{identifier}".encode()


def release(name: str) -> bytes:
    """Key of a release's record."""
    return f"release/{name}".encode()


def revision(release_name: str, number: int) -> bytes:
    """Key of one revision of a release."""
    return f"revision/{release_name}/{number:010d}".encode()


def rollout(release_name: str) -> bytes:
    """Key of the newest rollout of a release."""
    return f"rollout/{release_name}".encode()


def desired(cluster_name: str, release_name: str) -> bytes:
    """Key of what a cluster's bridge makes true of a release."""
    return f"desired/{cluster_name}/{release_name}".encode()


def scale(cluster_name: str, release_name: str) -> bytes:
    """Key of the replica counts the machine decided for a release on a cluster."""
    return f"scale/{cluster_name}/{release_name}".encode()


def cluster_releases(cluster_name: str) -> bytes:
    """Key of the index of the releases that a cluster has something of."""
    return f"index/cluster/{cluster_name}/releases".encode()


def report(cluster_name: str, release_name: str) -> bytes:
    """Key of the newest report of a cluster on a release."""
    return f"report/{cluster_name}/{release_name}".encode()


def report_envelope(cluster_name: str, release_name: str) -> bytes:
    """Key of the envelope that carried the newest report."""
    return f"report-envelope/{cluster_name}/{release_name}".encode()


def report_sequence(cluster_name: str) -> bytes:
    """Key of the sequence of a cluster's newest report."""
    return f"report-sequence/{cluster_name}".encode()


def claim(kind: str, namespace: str, name: str) -> bytes:
    """Key of the releases that claim an object; hashed, for the names together may be longer than a key."""
    return f"claim/{sha256(f'{kind}/{namespace}/{name}'.encode()).hexdigest()}".encode()


def incident(number: int) -> bytes:
    """Key of an incident."""
    return f"incident/{number:010d}".encode()


def break_glass_uses(name: str) -> bytes:
    """Key of how often a break-glass object was used."""
    return f"break-glass-uses/{name}".encode()


def suspension(did: str) -> bytes:
    """Key of the suspension of an agent."""
    return f"suspension/{did}".encode()


def audit_logs(did: str) -> bytes:
    """Key of the index of the audit logs that a node anchors."""
    return f"index/audit-logs/{did}".encode()


def audit_anchor(did: str, log: str) -> bytes:
    """Key of the newest anchor of a node's audit log."""
    return f"audit-anchor/{did}/{log}".encode()


def audit_anchor_number(did: str, log: str, number: int) -> bytes:
    """Key of one anchor of a node's audit log."""
    return f"audit-anchor/{did}/{log}/{number:010d}".encode()


def observations(did: str) -> bytes:
    """Key of how many observations an agent has made."""
    return f"observations/{did}".encode()


def observation(did: str, place: int) -> bytes:
    """Key of one of the newest observations of an agent: its number modulo how many are kept."""
    return f"observation/{did}/{place:02d}".encode()


def text(state_key: bytes) -> str:
    """Give a key, of whatever bytes, as an error shows it."""
    return state_key.decode("ascii", "replace")
