"""The state keys of the ledger: one function a kind of record. Source: docs/spec/ledger.md §3."""

from __future__ import annotations

LEDGER = b"ledger"
PARAMETERS = b"parameters"
PROPOSALS = b"proposals"
INDEX_IDENTITIES = b"index/identities"
INDEX_RULES = b"index/rules"
INDEX_CLUSTERS = b"index/clusters"
INDEX_RELEASES = b"index/releases"


def identity(did: str) -> bytes:
    """Key of a subject's record."""
    return f"identity/{did}".encode()


def nonce(did: str) -> bytes:
    """Key of a subject's nonce window."""
    return f"nonce/{did}".encode()


def rule(name: str) -> bytes:
    """Key of an approval rule."""
    return f"rule/{name}".encode()


def cluster(name: str) -> bytes:
    """Key of a cluster."""
    return f"cluster/{name}".encode()


def proposal(identifier: str) -> bytes:
    """Key of a proposal's record."""
    return f"proposal/{identifier}".encode()


def proposal_number(number: int) -> bytes:
    """Key under which a proposal is found by number."""
    return f"proposal-number/{number:010d}".encode()


def envelope(identifier: str) -> bytes:
    """Key of an envelope's bytes, as included."""
    return f"envelope/{identifier}".encode()


def release(name: str) -> bytes:
    """Key of a release's record."""
    return f"release/{name}".encode()


def revision(release_name: str, number: int) -> bytes:
    """Key of one revision of a release."""
    return f"revision/{release_name}/{number:010d}".encode()


def cluster_releases(cluster_name: str) -> bytes:
    """Key of the index of the releases that target a cluster."""
    return f"index/cluster/{cluster_name}/releases".encode()


def report(cluster_name: str, release_name: str) -> bytes:
    """Key of the newest report of a cluster on a release."""
    return f"report/{cluster_name}/{release_name}".encode()


def report_envelope(cluster_name: str, release_name: str) -> bytes:
    """Key of the envelope that carried the newest report."""
    return f"report-envelope/{cluster_name}/{release_name}".encode()


def text(key: bytes) -> str:
    """Give a key, of whatever bytes, as an error shows it."""
    return key.decode("ascii", "replace")
