"""The judgement of a call before anything is done with it, and of its answer before anybody sees it.

Owns the order of the checks and what a trip costs. Promises that a call passes only if every check passed,
that the state it is given is never changed, and that whoever trips too often is cut off. No clock, no I/O.
Source: docs/spec/mcp-guard.md §1.
"""

from __future__ import annotations

from typing import TypeVar

from ledger.agent_policy import AgentPolicy, Rate, ToolPolicy
from ledger.errors import Code, Refused
from ledger.limits import ARGUMENT_BYTES_MAX
from ledger.types import Json
from mcp_server.guard import arguments, exfiltration, loops, opaque, shape
from mcp_server.guard.calls import Call, Judgement, Reason, Verdict, reason_of
from mcp_server.guard.limits import ANSWER_BYTES_MAX, NS_PER_SECOND
from mcp_server.guard.state import Draft, GuardState

TRIPS = frozenset(
    {
        Code.TEXT_DISGUISED,
        Code.LOOP_DETECTED,
        Code.EXFILTRATION_SUSPECTED,
        Code.SECRET_FOUND,
        Code.SECRET_WITH_DATA,
    }
)
"""Refusals that an honest agent hardly ever meets twice."""
_ALL = "*"
T = TypeVar("T")


def judge(call: Call, policy: AgentPolicy | None, state: GuardState) -> tuple[Judgement, GuardState]:
    """Judge a call.

    Args:
        call: as it came in.
        policy: the caller's own, None where the ledger has none: nothing is allowed.
        state: the caller's own.

    Returns:
        The judgement and the state to keep. A refusal carries one reason, a warning all of them.
    """
    draft = Draft(state, call.now_ns)
    try:
        if state.suspended is not None:
            return Judgement(Verdict.SUSPEND, (state.suspended,)), state
        text = shape.read(call.arguments, "arguments", bytes_max=ARGUMENT_BYTES_MAX)
        tool = _tool_of(call, policy)
        assert policy is not None
        past = loops.past_of(call.tool, text, call.now_ns)
        past = past._replace(is_poll=loops.is_poll(draft.history, past, tool.poll_seconds))
        found = loops.find(draft.history, past, policy.loop) if not past.is_poll else None
        draft.remember_call(past._replace(answer=loops.REFUSED))
        if found is not None and found.is_refused:
            raise _loop(found)
        warnings = _check(call, text, policy, tool, draft)
        if found is not None:
            warnings.append(reason_of(_loop(found)))
        draft.history = (*draft.history[:-1], past)
    except Refused as refusal:
        return _refuse(refusal, policy, draft)
    return Judgement(Verdict.WARN if warnings else Verdict.ALLOW, tuple(warnings)), draft.freeze()


def judge_result(
    call: Call,
    result_json: Json,
    policy: AgentPolicy | None,
    state: GuardState,
    objects: tuple[str, ...] = (),
) -> tuple[Judgement, GuardState]:
    """Judge the answer to a call that passed; a refusal means that the answer is withheld.

    Args:
        call: as it was judged, with the time of the answer in ``now_ns``.
        result_json: the answer's content, as the caller would get it.
        policy: the caller's own.
        state: the caller's own.
        objects: the objects that the answer shows, in the spelling that calls use.
    """
    draft = Draft(state, call.now_ns)
    try:
        if state.suspended is not None:
            return Judgement(Verdict.SUSPEND, (state.suspended,)), state
        text = shape.read(result_json, "answer", bytes_max=ANSWER_BYTES_MAX)
        tool = _tool_of(call, policy)
        assert policy is not None
        _answered(call, result_json, draft)
        _pay(draft, call.tool, (("answerBytes", shape.size_of(text)),), policy, tool)
        _pay_objects(draft, call.tool, objects, policy, tool)
        where = exfiltration.check_answer(result_json, text, tool, policy.exfiltration)
    except Refused as refusal:
        # What others wrote into an answer is no trip of the agent's.
        return Judgement(Verdict.REFUSE, (reason_of(refusal),)), draft.freeze()
    if where:
        hidden = Reason(
            Code.TEXT_DISGUISED,
            {"field": where},
            got="a hidden or disguised character",
            expected="text that is what it seems",
            todo="show it fenced",
        )
        return Judgement(Verdict.WARN, (hidden,)), draft.freeze()
    return Judgement(Verdict.ALLOW), draft.freeze()


def _tool_of(call: Call, policy: AgentPolicy | None) -> ToolPolicy:
    tool = policy.tool(call.tool) if policy is not None and policy.agent == call.principal else None
    if tool is None:
        raise Refused(
            Code.TOOL_NOT_ALLOWED,
            got="a tool that the agent's policy does not name",
            expected="a tool of the agent's policy",
            todo="ask an operator for a policy",
        )
    return tool


def _check(call: Call, text: str, policy: AgentPolicy, tool: ToolPolicy, draft: Draft) -> list[Reason]:
    """Check a call that has the right shape; give what is to be warned of."""
    size = max(call.argument_bytes, shape.size_of(text))
    _pay(draft, call.tool, (("calls", 1), ("argumentBytes", size)), policy, tool)
    touches = arguments.check(call.arguments, tool)
    exfiltration.check_arguments(call.arguments, text, tool, draft, policy.exfiltration)
    opens_proposal = tool.opens_proposal and call.arguments.get("dryRun") is not True
    if opens_proposal:
        _check_proposals(call, policy, draft)
    _pay_objects(draft, call.tool, call.objects, policy, tool)
    warnings = []
    for touch in touches:
        mark = opaque.mark(f"{touch.path}={touch.value}")
        if mark not in draft.touches:
            draft.remember_touches((mark,))
            warnings.append(
                Reason(
                    Code.FIRST_TOUCH,
                    {"field": touch.path, "value": touch.value},
                    got=touch.value,
                    expected="what is usual for the agent",
                    todo="a person looks whether it should",
                )
            )
    if opens_proposal:
        draft.proposals_ns = (*draft.recent_proposals(), call.now_ns)
    return warnings


def _check_proposals(call: Call, policy: AgentPolicy, draft: Draft) -> None:
    """Count what the ledger shows and what was let through lately, whichever is more."""
    known = max(call.open_proposals, len(draft.recent_proposals()))
    if known >= policy.open_proposals_max:
        raise Refused(
            Code.OPEN_PROPOSALS_EXCEEDED,
            got=f"{known} open proposals",
            expected=f"fewer than {policy.open_proposals_max}",
            todo="wait until some are decided, or withdraw one",
        )


def _pay(
    draft: Draft, name: str, amounts: tuple[tuple[str, int], ...], policy: AgentPolicy, tool: ToolPolicy
) -> None:
    costs = [
        (f"{scope}/{quantity}", _rate(budget, quantity), amount)
        for quantity, amount in amounts
        for scope, budget in ((_ALL, policy.budget), (name, tool.budget))
    ]
    short = draft.pay(costs)
    if short is None:
        return
    bucket, rate, wait_ns = short
    scope, _, quantity = bucket.rpartition("/")
    raise Refused(
        Code.BUDGET_EXCEEDED,
        got=f"more {quantity}",
        expected=f"at most {rate.capacity} in {rate.per_seconds} s",
        todo="wait, or ask for less",
        budget=quantity,
        scope="tool" if scope == name else "agent",
        retryAfterSeconds=None if wait_ns < 0 else -(-wait_ns // NS_PER_SECOND),
    )


def _rate(budget: object, quantity: str) -> Rate:
    rate: Rate = getattr(budget, _ATTRIBUTES[quantity])
    return rate


_ATTRIBUTES = {
    "calls": "calls",
    "argumentBytes": "argument_bytes",
    "answerBytes": "answer_bytes",
    "objects": "objects",
}


def _pay_objects(
    draft: Draft, name: str, objects: tuple[str, ...], policy: AgentPolicy, tool: ToolPolicy
) -> None:
    """Charge objects that the principal did not see before."""
    marks = [mark for mark in map(opaque.mark, dict.fromkeys(objects)) if mark not in draft.objects]
    if marks:
        _pay(draft, name, (("objects", len(marks)),), policy, tool)
        draft.remember_objects(marks)


def _answered(call: Call, result: Json, draft: Draft) -> None:
    """Write the answer to the newest call that looks like this one and has none."""
    text = shape.read(call.arguments, "arguments", bytes_max=ARGUMENT_BYTES_MAX)
    exact = loops.past_of(call.tool, text, call.now_ns).exact
    for number in range(len(draft.history) - 1, -1, -1):
        past = draft.history[number]
        if past.exact == exact and past.answer is None:
            known = past._replace(answer=loops.answer_of(result))
            draft.history = (*draft.history[:number], known, *draft.history[number + 1 :])
            return


def _loop(found: loops.Loop) -> Refused:
    return Refused(
        Code.LOOP_DETECTED,
        got=f"the same for the {found.times}. time",
        expected="something new, or a pause",
        todo="do something else, or ask a person",
        loop=found.kind,
        count=found.times,
    )


def _refuse(refusal: Refused, policy: AgentPolicy | None, draft: Draft) -> tuple[Judgement, GuardState]:
    """Count a refusal; cut the principal off when it is one too many."""
    reason = reason_of(refusal)
    if policy is None:
        return Judgement(Verdict.REFUSE, (reason,)), draft.freeze()
    costs = [("*/refusals", policy.refusals, 1)]
    if refusal.code in TRIPS:
        costs.append(("*/trips", policy.trips, 1))
    if draft.pay(costs) is None:
        return Judgement(Verdict.REFUSE, (reason,)), draft.freeze()
    draft.suspended = Reason(
        Code.AGENT_SUSPENDED,
        {"cause": refusal.code.name, "atNs": draft.now_ns},
        got=f"one refusal too many ({refusal.code.name})",
        expected="an agent that is not suspended",
        todo="a person looks at the audit and lifts it",
    )
    return Judgement(Verdict.SUSPEND, (draft.suspended, reason)), draft.freeze()
