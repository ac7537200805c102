"""What the machine knows of agents: what each may say, and which are cut off.

Owns the judgement of an agent's policy when it is put, and suspensions. Promises that a policy is of the
agent it is named after, that only those who watch over an agent, or humans who may, cut it off, and that only
the quorum lets it speak again. Never judges a call: the guard of an MCP server does. Source:
docs/spec/agents.md.
"""

from __future__ import annotations

from abci_app import indexes
from abci_app.check import identity_of
from abci_app.machine import incidents
from abci_app.machine.context import Context
from abci_app.machine.incidents import About
from abci_app.machine.world import constitution_of, stored_object
from ledger import agent_records, canonical, records, shape, statekeys
from ledger.agent_actions import Suspension
from ledger.agent_policy import AgentPolicy, read_policy
from ledger.agent_records import SuspensionRecord
from ledger.authority.constitution import check_may
from ledger.authority.objects import StoredObject, Verb
from ledger.authority.scope import Operation, Risk, Scope, Touch, ledger_kind
from ledger.errors import Code, Refused
from ledger.identity import IdentityRecord
from ledger.limits import AGENT_POLICY_BYTES_MAX
from ledger.records import IncidentKind
from ledger.types import SubjectKind
from state.reader import StateReader

_POLICY = "AgentPolicy"
_SUSPENSION = "Suspension"


def check_policy(state: StateReader, stored: StoredObject) -> AgentPolicy:
    """Read an ``AgentPolicy`` that is about to be put, and judge whom it names.

    Raises:
        Refused: LIMIT_EXCEEDED, SIGNER_UNKNOWN, any code of ``shape`` with the field's path.
    """
    size = len(canonical.dump_plain(stored.spec))
    if size > AGENT_POLICY_BYTES_MAX:
        raise Refused(
            Code.LIMIT_EXCEEDED,
            got=f"{size} bytes",
            expected=f"at most {AGENT_POLICY_BYTES_MAX}",
            field="spec",
        )
    policy = read_policy(stored.spec)
    agent = identity_of(state, policy.agent)
    if agent.kind is not SubjectKind.AGENT or agent.name != stored.name:
        got = f"{agent.kind.value} {agent.name}"
        raise shape.invalid("spec.agent", got, f"the did of the agent {stored.name}")
    for place, did in enumerate(policy.guards):
        guard = identity_of(state, did)
        if guard.kind is not SubjectKind.NODE:
            raise shape.invalid(
                f"spec.guards[{place}]", f"{guard.kind.value} {guard.name}", "the did of a node"
            )
    return policy


def suspend(ctx: Context, signer: IdentityRecord, wanted: Suspension) -> None:
    """Cut an agent off: nothing it says is admitted, nothing it asked for is approved or done, until lifted.

    Raises:
        Refused: SIGNER_UNKNOWN, FIELD_INVALID for who is no agent, FIELD_MISSING for a guard without its
            evidence, PERMISSION_DENIED, OBJECT_DUPLICATE where it is cut off already.
    """
    agent = identity_of(ctx.state, wanted.agent)
    if agent.kind is not SubjectKind.AGENT:
        raise shape.invalid("body.agent", f"{agent.kind.value} {agent.name}", "an agent")
    if signer.kind is SubjectKind.NODE:
        _check_guard(ctx.state, signer, agent, wanted)
    else:
        touch = Touch(ledger_kind(_SUSPENSION), "-", agent.name)
        scope = Scope(Operation.CONFIGURE, (touch,), ("-",), Risk.LOW)
        check_may(constitution_of(ctx.state), signer, Verb.FREEZE, scope, ctx.height)
    if ctx.state.get(statekeys.suspension(agent.did)) is not None:
        raise Refused(
            Code.OBJECT_DUPLICATE,
            got=f"{_SUSPENSION} {agent.name}",
            expected="an agent that is not suspended",
            todo="nothing: it is cut off already",
            object=agent.name,
        )
    # What people wrote stays in the record: an incident holds the machine's own words.
    said = f"{agent.name} was suspended by {signer.name}"
    number = incidents.record(ctx, IncidentKind.AGENT_SUSPENDED, said, About(subject=agent.did))
    record = SuspensionRecord(
        agent=agent.did,
        name=agent.name,
        by=signer.did,
        code=wanted.code,
        evidence=wanted.evidence,
        reason=wanted.reason,
        incident=number,
        height=ctx.height,
        time=ctx.time,
    )
    ctx.put(statekeys.suspension(agent.did), record)
    indexes.insert(ctx.state, statekeys.INDEX_SUSPENSIONS, agent.did)
    _tell(ctx, record, "suspended")


def lift(ctx: Context, name: str) -> None:
    """Let an agent speak again.

    Raises:
        Refused: OBJECT_UNKNOWN.
    """
    named = ctx.state.get(statekeys.identity_name(name))
    key = statekeys.suspension("" if named is None else records.read_did(named))
    content = ctx.state.get(key)
    if content is None:
        raise Refused(
            Code.OBJECT_UNKNOWN,
            got=f"{_SUSPENSION} {name}",
            expected="a suspension of the ledger",
            kind=_SUSPENSION,
            object=name,
        )
    record = agent_records.read_suspension(content)
    ctx.state.delete(key)
    indexes.remove(ctx.state, statekeys.INDEX_SUSPENSIONS, record.agent)
    _tell(ctx, record, "removed")


def _check_guard(state: StateReader, signer: IdentityRecord, agent: IdentityRecord, said: Suspension) -> None:
    """A node watches over the agent, and points to what it saw."""
    policy = stored_object(state, _POLICY, agent.name)
    if policy is None or signer.did not in policy.spec.get("guards", ()):
        raise Refused(
            Code.PERMISSION_DENIED,
            got=f"node {signer.name}",
            expected=f"one of the guards in the policy of {agent.name}",
            todo="have the node named in the agent's policy",
            verb=Verb.FREEZE.value,
            kind=ledger_kind(_SUSPENSION),
            name=agent.name,
        )
    for field, value in (("code", said.code), ("evidence", said.evidence)):
        if value is None:
            raise Refused(Code.FIELD_MISSING, got="nothing", expected=f"body.{field}", field=f"body.{field}")


def _tell(ctx: Context, record: SuspensionRecord, state: str) -> None:
    ctx.emit("suspension", agent=record.agent, name=record.name, by=record.by, code=record.code, state=state)
