"""A block: what is due, then every transaction in order. Here the executable specification begins.

Owns the order. Promises that results depend on the arguments alone, that every transaction gets exactly
one, and that a refused one changes nothing but its signer's account. Never reads a clock, draws randomness,
or performs I/O.

Source: docs/spec/ledger.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from abci_app import indexes
from abci_app.check import Admitted, Constants, Opened, admit
from abci_app.machine import agents, guard, identities, membership, notes, progress, proposals, reports
from abci_app.machine.context import Context, Event
from ledger import account as accounts
from ledger import statekeys
from ledger.account import Account
from ledger.actions import (
    Deactivation,
    Freeze,
    Hold,
    Judgement,
    KeyChange,
    Proposal,
    Report,
    Revocation,
)
from ledger.agent_actions import Anchor, Observation, Suspension
from ledger.errors import Code, Refused
from ledger.limits import AGENDA_ITEMS_PER_BLOCK_MAX
from ledger.receipt import Receipt
from state.reader import Overlay

Opener = Callable[[bytes], Opened]
"""``check.open_envelope`` with the ledger's constants bound, possibly remembering."""


@dataclass(frozen=True, slots=True)
class Block:
    """What is decided: its height, its time in seconds, its transactions."""

    height: int
    time: int
    txs: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class TxResult:
    """The consensus part of a transaction's result; the refusal and the events are for people's eyes."""

    code: Code
    data: bytes
    refusal: Refused | None
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class BlockResult:
    """One result a transaction, what the block itself did, and validator powers that changed, by key id."""

    results: tuple[TxResult, ...]
    events: tuple[Event, ...]
    powers: dict[str, int]


def apply_block(state: Overlay, block: Block, constants: Constants, open_tx: Opener) -> BlockResult:
    """Apply a block: the agenda first, then its transactions in order.

    Args:
        state: an overlay over the state of the height before; holds the changes afterwards.
        block: any bytes as transactions.
        constants: of the ledger, by the state of the height before.
        open_tx: opens one transaction.

    Returns:
        One result a transaction, same order.
    """
    ctx = Context(state, block.height, block.time, constants)
    validators = membership.validators_of(state)
    membership.upgrade(ctx)
    _work_off_agenda(ctx)
    results = [_apply(ctx, tx, open_tx) for tx in block.txs]
    return BlockResult(tuple(results), tuple(ctx.events), membership.updates(validators, ctx.powers))


def _work_off_agenda(ctx: Context) -> None:
    """Do what is due by time: delayed executions and the deadlines of rollouts."""
    bound = f"{ctx.time:012d}/~"
    for entry in indexes.pop_up_to(ctx.state, statekeys.AGENDA, bound, AGENDA_ITEMS_PER_BLOCK_MAX):
        _, kind, name = entry.split("/")
        if kind == "rollout":
            progress.step(ctx, name)
        else:
            proposals.execute_due(ctx, int(name))


def _apply(ctx: Context, tx: bytes, open_tx: Opener) -> TxResult:
    try:
        admitted = admit(open_tx(tx), ctx.state, ctx.height, ctx.constants)
    except Refused as refusal:
        return TxResult(refusal.code, b"", refusal)
    # From here on the envelope is used up, so that a refused one can never take effect later.
    use_account(ctx.state, admitted.signer.did, admitted.account)
    attempt = ctx.fork()
    try:
        receipt = execute(attempt, admitted, tx)
    except Refused as refusal:
        return TxResult(refusal.code, b"", refusal)
    events, attempt.events = tuple(attempt.events), []
    ctx.merge(attempt)
    return TxResult(Code.OK, receipt.to_bytes(), None, events)


def use_account(state: Overlay, did: str, account: Account) -> None:
    """Record on ``state`` what the signer has used."""
    state.put(statekeys.account(did), accounts.write(account))


def check_action(ctx: Context, admitted: Admitted) -> Account:
    """Judge whether an admitted action keeps the rules on ``ctx``. CheckTx asks no more than this.

    Args:
        ctx: what the action would meet; to be thrown away.
        admitted: by ``check.admit`` on the same state.

    Returns:
        The signer's account after it.

    Raises:
        Refused: whatever rule the action breaks.
    """
    match admitted.opened.action:
        case Proposal() as proposal:
            asked = proposals.check_proposal(ctx, admitted, proposal)
            return proposals.account_after(ctx, admitted, asked)
        case Judgement() as judgement:
            proposals.check_judgement(ctx, admitted, judgement)
        case Report() as report:
            reports.check(ctx, admitted, report)
        case _:
            execute(ctx, admitted, b"")
    return admitted.account


def execute(ctx: Context, admitted: Admitted, tx: bytes) -> Receipt:
    """Perform an admitted action.

    Args:
        ctx: where changes go; to be thrown away if this raises.
        admitted: by ``check.admit`` on the same state.
        tx: the transaction's bytes, kept as evidence.

    Raises:
        Refused: whatever rule the action breaks.
    """
    receipt = Receipt(admitted.opened.id, ctx.height)
    match admitted.opened.action:
        case Proposal() as proposal:
            return proposals.propose(ctx, admitted, proposal, tx)
        case Judgement() as judgement:
            return proposals.judge(ctx, admitted, judgement, tx)
        case Report() as report:
            reports.report(ctx, admitted, report, tx)
            return receipt
        case action:
            _PERFORMED[type(action)](ctx, admitted, action)
    if tx and type(admitted.opened.action) not in _UNKEPT:
        ctx.state.put(statekeys.envelope(admitted.opened.id), tx)
    return receipt


_PERFORMED: dict[type, Callable[[Context, Admitted, Any], None]] = {
    Freeze: lambda ctx, admitted, said: guard.freeze(ctx, admitted.signer, said),
    Revocation: lambda ctx, admitted, said: guard.revoke(ctx, admitted.signer, said),
    Hold: lambda ctx, admitted, said: guard.hold(ctx, admitted.signer, said),
    KeyChange: identities.change_keys,
    Deactivation: lambda ctx, admitted, said: identities.deactivate(ctx, admitted.signer, said),
    Suspension: lambda ctx, admitted, said: agents.suspend(ctx, admitted.signer, said),
    Anchor: lambda ctx, admitted, said: notes.anchor(ctx, admitted.signer, said),
    Observation: lambda ctx, admitted, said: notes.observe(ctx, admitted.signer, said),
}
"""What is done for the kinds of action that people are answered with an empty receipt."""
_UNKEPT = (Anchor, Observation)
"""Actions of which only the record is kept: there would be ever more of their envelopes."""
