"""What is written down and moves nothing: anchors of audit logs, observations of agents.

Owns both. Promises that the anchors of a log only ever grow, that each anchor stands for all before it, and
that whatever is said here, nothing comes of it but the record. Source: docs/spec/agents.md §3, §4.
"""

from __future__ import annotations

from abci_app import indexes
from abci_app.machine.context import Context
from abci_app.machine.world import (
    constitution_of,
    content_record,
    release_record,
    revision_record,
    stored_object,
)
from ledger import agent_records, records, shape, statekeys
from ledger.agent_actions import About, Anchor, Observation
from ledger.agent_records import FIRST_ANCHOR, AnchorRecord, ObservationRecord, anchor_digest
from ledger.authority.constitution import check_may
from ledger.authority.objects import Verb
from ledger.authority.scope import Operation, Risk, Scope, Touch, ledger_kind
from ledger.errors import Code, Refused
from ledger.identity import IdentityRecord
from ledger.limits import ANCHORS_PER_LOG_MAX, LOGS_PER_NODE_MAX, OBSERVATIONS_PER_AGENT_MAX


def anchor(ctx: Context, signer: IdentityRecord, wanted: Anchor) -> None:
    """Keep how far a node's audit log has come, and what it ends in.

    Raises:
        Refused: ANCHOR_NOT_NEWER, LIMIT_EXCEEDED.
    """
    newest = statekeys.audit_anchor(signer.did, wanted.log)
    content = ctx.state.get(newest)
    before = None if content is None else agent_records.read_anchor(content)
    if before is None:
        _add_log(ctx, signer, wanted.log)
    elif wanted.count <= before.count:
        raise Refused(
            Code.ANCHOR_NOT_NEWER,
            got=f"{wanted.count} records",
            expected=f"more than {before.count}",
            todo="an audit log only grows: where it does not, look at who changed it",
            log=wanted.log,
        )
    record = AnchorRecord(
        node=signer.did,
        log=wanted.log,
        number=1 if before is None else before.number + 1,
        count=wanted.count,
        head=wanted.head,
        digest=anchor_digest(
            FIRST_ANCHOR if before is None else before.digest,
            (wanted.count, wanted.head, ctx.height, ctx.time),
        ),
        height=ctx.height,
        time=ctx.time,
    )
    ctx.put(newest, record)
    ctx.put(statekeys.audit_anchor_number(signer.did, wanted.log, record.number), record)
    if record.number > ANCHORS_PER_LOG_MAX:
        # The digest stands for what is let go.
        oldest = record.number - ANCHORS_PER_LOG_MAX
        ctx.state.delete(statekeys.audit_anchor_number(signer.did, wanted.log, oldest))
    ctx.emit("anchor", node=signer.did, log=wanted.log, number=record.number, count=record.count)


def observe(ctx: Context, signer: IdentityRecord, wanted: Observation) -> None:
    """Keep what an agent saw, or asks people to do; the newest take the place of the oldest.

    Raises:
        Refused: RELEASE_UNKNOWN, PERMISSION_DENIED, FIELD_INVALID.
    """
    if wanted.release is not None:
        _check_may_propose(ctx, signer, wanted.release)
    elif wanted.about is About.PAUSE_REQUESTED:
        raise shape.invalid("body.release", None, "the release that should be paused")
    elif stored_object(ctx.state, "AgentPolicy", signer.name) is None:
        raise Refused(
            Code.PERMISSION_DENIED,
            got=f"agent {signer.name}",
            expected="an agent with a policy, or a release it may propose",
            todo="have a policy put for it",
            verb=Verb.PROPOSE.value,
        )
    counter = statekeys.observations(signer.did)
    number = records.read_count(ctx.state.get(counter)) + 1
    record = ObservationRecord(
        agent=signer.did,
        number=number,
        about=wanted.about,
        release=wanted.release,
        text=wanted.text,
        height=ctx.height,
        time=ctx.time,
    )
    ctx.state.put(counter, records.write_count(number))
    ctx.put(statekeys.observation(signer.did, number % OBSERVATIONS_PER_AGENT_MAX), record)
    indexes.insert(ctx.state, statekeys.INDEX_OBSERVERS, signer.did)
    ctx.emit("observation", agent=signer.did, number=number, about=wanted.about.value, release=wanted.release)


def _add_log(ctx: Context, signer: IdentityRecord, log: str) -> None:
    index = statekeys.audit_logs(signer.did)
    indexes.insert(ctx.state, index, log)
    if indexes.count(ctx.state, index) > LOGS_PER_NODE_MAX:
        raise Refused(
            Code.LIMIT_EXCEEDED,
            got=f"{LOGS_PER_NODE_MAX + 1} logs of {signer.name}",
            expected=f"at most {LOGS_PER_NODE_MAX}",
            todo="go on with a log that is known, or register another node",
        )
    indexes.insert(ctx.state, statekeys.INDEX_AUDITORS, signer.did)


def _check_may_propose(ctx: Context, signer: IdentityRecord, name: str) -> None:
    release = release_record(ctx.state, name)
    if release is None:
        raise Refused(Code.RELEASE_UNKNOWN, got=name, expected="a release of the ledger")
    content = content_record(ctx.state, revision_record(ctx.state, name, release.revision).content)
    touch = Touch(ledger_kind("Release"), content.namespace, name)
    scope = Scope(Operation.APPLY, (touch,), release.clusters, Risk.LOW)
    check_may(constitution_of(ctx.state), signer, Verb.PROPOSE, scope, ctx.height)
