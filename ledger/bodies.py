"""The bodies of envelopes, written: what the command line, the bridge and tests put into an envelope.

Owns the canonical bytes of each action. Promises that what it writes, ``ledger.actions`` reads back. Never
signs. Source: docs/spec/ledger.md §2, identities.md §4.
"""

from __future__ import annotations

from ledger import canonical, codec
from ledger.actions import Report
from ledger.types import API_VERSION, ActionKind, JsonObject


def release_body(release: JsonObject, *, reason: str = "", against: int | None = None) -> bytes:
    """Write the body that proposes ``release`` (a ``Release`` object), made for the revision ``against``."""
    return proposal_body({"release": release}, reason=reason, against=against)


def rollback_body(release: str, to_revision: int, *, reason: str = "", against: int | None = None) -> bytes:
    """Write the body that proposes to roll ``release`` back to ``to_revision``."""
    change = {"rollback": {"release": release, "toRevision": to_revision}}
    return proposal_body(change, reason=reason, against=against)


def withdraw_body(release: str, *, reason: str = "") -> bytes:
    """Write the body that proposes to withdraw ``release``."""
    return proposal_body({"withdraw": {"release": release}}, reason=reason)


def delete_body(release: str, *, prune: bool, reason: str = "") -> bytes:
    """Write the body that proposes to delete ``release``, with its objects if ``prune``."""
    return proposal_body({"delete": {"release": release, "prune": prune}}, reason=reason)


def configure_body(
    put: list[JsonObject], remove: list[tuple[str, str]] | None = None, *, reason: str = ""
) -> bytes:
    """Write the body that proposes to put ledger objects and to remove others by (kind, name)."""
    change: JsonObject = {"put": put} if put else {}
    if remove:
        change["remove"] = [{"kind": kind, "name": name} for kind, name in remove]
    return proposal_body({"configure": change}, reason=reason)


def proposal_body(
    change: JsonObject,
    *,
    reason: str = "",
    against: int | None = None,
    break_glass: str | None = None,
    dry_run: str | None = None,
) -> bytes:
    """Write the body of a proposal of any change."""
    optional = {"reason": reason or None, "against": against, "breakGlass": break_glass, "dryRun": dry_run}
    return _write(ActionKind.PROPOSAL, {"change": change, **_given(optional)})


def judgement_body(
    kind: ActionKind, proposal: str, digest: str, requirement: str, *, reason: str = ""
) -> bytes:
    """Write the body that approves or rejects ``proposal``.

    Args:
        kind: APPROVAL or REJECTION.
        proposal: its id.
        digest: SHA-256 (hex) of its body.
        requirement: digest (hex) of what it requires, as its record shows.
        reason: for rejections.
    """
    content = {"proposal": proposal, "digest": digest, "requirement": requirement}
    return _write(kind, {**content, **_given({"reason": reason or None})})


def report_body(report: Report) -> bytes:
    """Write the body of a bridge's report."""
    content: JsonObject = {
        "cluster": report.cluster,
        "release": report.release,
        "revision": report.revision,
        "sequence": report.sequence,
        "outcome": report.outcome,
        "health": report.health,
        "objects": list(report.objects),
    }
    if report.metrics:
        content["metrics"] = codec.to_json(report.metrics)
    return _write(ActionKind.REPORT, content)


def freeze_body(
    name: str,
    *,
    clusters: tuple[str, ...] = ("*",),
    namespaces: tuple[str, ...] = ("*",),
    releases: tuple[str, ...] = ("*",),
    reason: str = "",
) -> bytes:
    """Write the body that freezes what the patterns match."""
    scope = {"clusters": list(clusters), "namespaces": list(namespaces), "releases": list(releases)}
    return _write(ActionKind.FREEZE, {"name": name, **scope, **_given({"reason": reason or None})})


def revocation_body(subject: str, key_ids: tuple[str, ...] = (), *, reason: str = "") -> bytes:
    """Write the body that revokes keys of ``subject``, all active ones where none is named."""
    content = {"subject": subject, "keyIds": sorted(key_ids)}
    return _write(ActionKind.REVOCATION, {**content, **_given({"reason": reason or None})})


def hold_body(kind: ActionKind, release: str, *, reason: str = "") -> bytes:
    """Write the body that pauses or resumes a release's rollout."""
    return _write(kind, {"release": release, **_given({"reason": reason or None})})


def key_change_body(kind: ActionKind, keys: list[JsonObject], following: list[str]) -> bytes:
    """Write the body of a rotation or recovery.

    Args:
        kind: ROTATION or RECOVERY.
        keys: the new key objects.
        following: SHA-256 (hex) of the key ids that may follow.
    """
    return _write(kind, {"keys": keys, "next": following})


def deactivation_body(*, reason: str = "") -> bytes:
    """Write the body that ends its signer."""
    return _write(ActionKind.DEACTIVATION, _given({"reason": reason or None}))


def suspension_body(
    agent: str, *, code: int | None = None, evidence: str | None = None, reason: str = ""
) -> bytes:
    """Write the body that cuts an agent off.

    Args:
        agent: its DID.
        code: why a guard decides so.
        evidence: SHA-256 (hex) of the record in the guard's audit log.
        reason: for people.
    """
    given = _given({"code": code, "evidence": evidence, "reason": reason or None})
    return _write(ActionKind.SUSPENSION, {"agent": agent, **given})


def anchor_body(log: str, count: int, head: str) -> bytes:
    """Write the body that anchors an audit log: its id, how many records, what their chain ends in (hex)."""
    return _write(ActionKind.ANCHOR, {"log": log, "count": count, "head": head})


def observation_body(about: str, text: str, *, release: str | None = None) -> bytes:
    """Write the body in which an agent says what it saw: ``observation`` or ``pause-requested``."""
    return _write(ActionKind.OBSERVATION, {"about": about, "text": text, **_given({"release": release})})


def _given(optional: JsonObject) -> JsonObject:
    return {name: value for name, value in optional.items() if value is not None}


def _write(kind: ActionKind, content: JsonObject) -> bytes:
    return canonical.dump({"apiVersion": API_VERSION, "kind": kind.value, **content})
