"""Would this pass, and what is still missing? The one place where that is answered.

Owns the dry run: an action is executed on a fork of committed state and thrown away. Promises that nothing
changes and that the answer names the rule met. It is the answering node's word, not a proof: what it says
is shown to people, and believed by nobody. Source: docs/spec/ledger.md §4.
"""

from __future__ import annotations

from abci_app.check import Admitted, Opened, check_not_suspended, content_of, identity_of
from abci_app.machine.block import execute
from abci_app.machine.context import Context
from abci_app.machine.proposals import decision_of, existing_proposal
from abci_app.machine.world import constitution_of, requirement_of, scope_of
from ledger import canonical, shape
from ledger.account import EMPTY
from ledger.actions import Proposal, read_action, summary_of
from ledger.authority.constitution import may
from ledger.authority.decision import Decision
from ledger.authority.objects import Verb
from ledger.authority.requirement import Requirement
from ledger.authority.scope import Scope
from ledger.changes import Release
from ledger.envelope import Envelope
from ledger.errors import Code, Refused
from ledger.limits import ENVELOPE_BYTES_MAX
from ledger.records import state_at
from ledger.types import Did, JsonObject, sha256


def dry_run(ctx: Context, question: bytes) -> JsonObject:
    """Answer a question.

    Args:
        ctx: over committed state; thrown away.
        question: canonical JSON, ``{"signer": did, "body": action}`` or ``{"proposal": id}``.

    Returns:
        ``{"code","name","refusal"}``, and for proposals ``"requirement"``, ``"missing"``, ``"approvers"``.

    Raises:
        Refused: QUERY_INVALID, or what the question's own bytes break.
    """
    value = canonical.load(question, bytes_max=ENVELOPE_BYTES_MAX)
    found = shape.fields(value, "question", required=(), optional=("signer", "body", "proposal"))
    if set(found) == {"proposal"}:
        return _of_proposal(ctx, shape.digest(found["proposal"], "question.proposal"))
    if set(found) == {"signer", "body"}:
        did = Did(shape.did(found["signer"], "question.signer"))
        return _of_action(ctx, did, canonical.dump(found["body"]))
    raise Refused(
        Code.QUERY_INVALID,
        got=", ".join(sorted(found)),
        expected="signer and body, or proposal",
        field="data",
    )


def _of_action(ctx: Context, did: Did, body: bytes) -> JsonObject:
    try:
        signer = identity_of(ctx.state, did)
        check_not_suspended(ctx.state, signer)
        action = read_action(body, image_digest_required=ctx.constants.parameters.image_digest_required)
        release = action.change if isinstance(action, Proposal) else None
        content = content_of(release) if isinstance(release, Release) else None
        keys = tuple(key.key_id for key in signer.active_keys)
        identifier, digest = sha256(b"dry run" + body).hex(), sha256(body).hex()
        envelope = Envelope(b"", ctx.constants.chain_id, did, 1, ctx.height, ())
        opened = Opened(identifier, envelope, digest, action, keys, content)
        execute(ctx, Admitted(opened, signer, EMPTY), b"?")
    except Refused as refusal:
        return _answer(refusal)
    if not isinstance(action, Proposal):
        return _answer(None)
    change = summary_of(action)
    scope = scope_of(ctx.state, identifier, change, content)
    requirement = requirement_of(ctx.state, scope, ctx.constants, ctx.time, action.break_glass)
    decision = decision_of(ctx, existing_proposal(ctx, identifier), scope)
    return _answer(None) | _needs(ctx, requirement, scope, decision)


def _of_proposal(ctx: Context, identifier: str) -> JsonObject:
    record = existing_proposal(ctx, identifier)
    scope = scope_of(ctx.state, record.id, record.change, None)
    requirement = requirement_of(ctx.state, scope, ctx.constants, ctx.time, record.break_glass)
    decision = decision_of(ctx, record, scope)
    state = state_at(record, ctx.height).value
    return _answer(None) | {"state": state} | _needs(ctx, requirement, scope, decision)


def _needs(ctx: Context, requirement: Requirement, scope: Scope, decision: Decision) -> JsonObject:
    constitution = constitution_of(ctx.state)
    people = [identity_of(ctx.state, did) for did in constitution.subjects]
    able = [
        person.name
        for person in people
        if person.is_active
        and (
            person.did in requirement.members
            if requirement.members is not None
            else may(constitution, person, Verb.APPROVE, scope, ctx.height)
        )
    ]
    return {
        "requirement": {
            "digest": requirement.digest,
            "humans": requirement.humans,
            "organisations": requirement.organisations,
            "quorum": [{"role": role, "count": count} for role, count in requirement.quorum],
            "delaySeconds": requirement.delay_seconds,
            "ttlBlocks": requirement.ttl_blocks,
            "denyThreshold": requirement.deny_threshold,
            "rules": [name for name, _ in requirement.rules],
        },
        "operation": scope.operation.value,
        "risk": scope.risk.value,
        "clusters": list(scope.clusters),
        "missing": decision.missing(),
        "approvers": sorted(able),
    }


def _answer(refusal: Refused | None) -> JsonObject:
    if refusal is None:
        return {"code": 0, "name": Code.OK.name, "refusal": None}
    return {"code": int(refusal.code), "name": refusal.code.name, "refusal": refusal.to_json()}
