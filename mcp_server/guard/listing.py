"""The judgement of what names things and calls no tool: lists, prompts, completions.

Promises that who is suspended gets none, and that these have a budget of their own: clients ask for lists by
themselves, so that asking again is no loop and takes nothing of what the agent may call.

Source: docs/spec/mcp-guard.md §7.
"""

from __future__ import annotations

from ledger.agent_policy import Rate
from ledger.errors import Code
from mcp_server.guard.calls import Judgement, Reason, Verdict
from mcp_server.guard.limits import NS_PER_SECOND
from mcp_server.guard.state import Draft, GuardState

LISTINGS = Rate(600, 60)
_BUCKET = "*/listings"


def judge_listing(state: GuardState, now_ns: int) -> tuple[Judgement, GuardState]:
    """Judge the asking for a list.

    Args:
        state: the caller's own.
        now_ns: the time.

    Returns:
        The judgement and the state to keep.
    """
    if state.suspended is not None:
        return Judgement(Verdict.SUSPEND, (state.suspended,)), state
    draft = Draft(state, now_ns)
    short = draft.pay(((_BUCKET, LISTINGS, 1),))
    if short is None:
        return Judgement(Verdict.ALLOW), draft.freeze()
    reason = Reason(
        Code.BUDGET_EXCEEDED,
        {"budget": "listings", "scope": "agent", "retryAfterSeconds": -(-short[2] // NS_PER_SECOND)},
        got="more lists, prompts and completions",
        expected=f"at most {LISTINGS.capacity} in {LISTINGS.per_seconds} s",
        todo="wait, or keep what was listed",
    )
    return Judgement(Verdict.REFUSE, (reason,)), draft.freeze()
