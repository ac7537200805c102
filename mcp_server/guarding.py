"""The guard around every call: whose policy, what is judged, what becomes of the judgement.

Owns the memory of who called and the joining of calls with policies of the ledger. Promises that a call is
judged by the newest policy that was proven for its caller, that a caller without one has no tool, that who
is nobody reads within a budget and proposes nothing, and that a suspension is told to whoever has to know.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ledger.agent_policy import AgentPolicy
from ledger.errors import Code, Refused
from ledger.types import Did, JsonObject
from mcp_server import prompts, resources
from mcp_server.catalogue import BY_NAME
from mcp_server.chain import Call, Passed
from mcp_server.guard import arguments
from mcp_server.guard import calls as words
from mcp_server.guard.calls import Judgement, Reason
from mcp_server.guard.judge import judge, judge_result
from mcp_server.guard.listing import judge_listing
from mcp_server.guard.state import GuardMemory
from mcp_server.policies import reader_of
from mcp_server.refusals import warning_json
from mcp_server.shown import named
from mcp_server.standing import Standings, check_standing

NOBODY = Did("nobody")
"""Who calls where nobody is known; no DID, so that no identity can be it."""
_UNKNOWN: tuple[str, JsonObject] = ("", {})
"""A resource that there is not: it costs what a list does, then is refused."""
_log = logging.getLogger("conclave.mcp")


Noted = Callable[[Did, int], None]


class OnSuspend(Protocol):
    """Told of a suspension when it begins. Called from the thread of the call."""

    def suspended(self, principal: Did, reason: Reason, call: Call) -> None:
        """Take note that the guard cut a principal off; what it raises is logged and changes nothing."""
        ...

    def tells(self, noted: Noted) -> None:
        """Have ``noted`` told, with the height, of each suspension that the ledger is proven to have."""
        ...


class Remembered:
    """Only remembers, as the guard's own memory does: whoever starts the server anew lifts it."""

    def __init__(self) -> None:
        self.seen: list[tuple[Did, Reason]] = []

    def suspended(self, principal: Did, reason: Reason, call: Call) -> None:
        """Keep it."""
        del call
        self.seen.append((principal, reason))

    def tells(self, noted: Noted) -> None:
        """Have nothing to tell."""


@dataclass(frozen=True, slots=True)
class _Caller:
    """Who a call is judged as."""

    did: Did
    policy: AgentPolicy | None
    open_proposals: int = 0


class Guarded:
    """A chain that judges each call by its caller's policy.

    Args:
        standings: what the ledger says of callers.
        clock: gives nanoseconds of a clock that only goes forward: one that is set would stop every budget.
        on_suspend: told of suspensions.
    """

    def __init__(
        self, standings: Standings, clock: Callable[[], int], on_suspend: OnSuspend | None = None
    ) -> None:
        self._standings, self._clock = standings, clock
        self._on_suspend = on_suspend or Remembered()
        self._on_suspend.tells(self.noted)
        self._memory = GuardMemory()
        self._under_way: tuple[str | None, _Caller] | None = None
        self._last_policy: tuple[AgentPolicy, AgentPolicy] | None = None

    def noted(self, principal: Did, height: int) -> None:
        """Take note that the ledger has a suspension: once it has it no more, it is lifted here too."""
        self._standings.noted(principal, height)

    def before(self, call: Call) -> tuple[JsonObject, ...]:
        """Judge a call. Raises what the judgement says, or why its caller is not believed."""
        self._under_way = None
        caller = self._caller(call)
        self._under_way = call.principal, caller
        state = self._memory.of(caller.did)
        asked = _asked(call)
        if asked is None or asked is _UNKNOWN:
            judgement, after = judge_listing(state, self._clock())
        else:
            judged = self._judged(caller, *asked)
            judgement, after = judge(judged, caller.policy, state)
        begins = state.suspended is None and after.suspended is not None
        if begins and caller.did == NOBODY:
            # Nobody can be cut off who is not known: the refusal stands, the others go on.
            self._memory.put(caller.did, after.lifted())
            words.Judgement(words.Verdict.REFUSE, judgement.reasons[1:]).check()
        self._memory.put(caller.did, after)
        if begins:
            self._tell(caller.did, judgement, call)
        judgement.check()
        if call.kind == "prompt" and call.name in prompts.BY_NAME and not _may_prompt(call, caller.policy):
            raise _not_allowed()
        if asked is _UNKNOWN:
            resources.tool_of(call.name)
        return tuple(map(warning_json, judgement.reasons))

    def after(self, call: Call, result: JsonObject, shown: tuple[str, ...] = ()) -> Passed:
        """Judge an answer. Raises what the judgement says: the answer is withheld."""
        asked, caller = _asked(call), self._known(call)
        self._under_way = None
        if asked is None:
            return Passed(result)
        judged = self._judged(caller, *asked)
        judgement, state = judge_result(judged, result, caller.policy, self._memory.of(caller.did), shown)
        self._memory.put(caller.did, state)
        judgement.check()
        return Passed(result, tuple(map(warning_json, judgement.reasons)))

    def shows(self, call: Call) -> bool:
        """Tell whether the caller's policy lets it make this call, budgets aside."""
        try:
            policy = self._known(call).policy
        except Refused:
            return False
        if call.kind == "prompt":
            return _may_prompt(call, policy)
        if call.kind == "template":
            return _may(policy, resources.TEMPLATE_TOOLS.get(call.name, ""), None)
        asked = _asked(call)
        is_named_only = call.kind == "tool" and call.arguments is None
        return asked is not None and _may(policy, asked[0], None if is_named_only else asked[1])

    def _known(self, call: Call) -> _Caller:
        """Give the caller as the call under way was judged; as it is now where none is."""
        if self._under_way is not None and self._under_way[0] == call.principal:
            return self._under_way[1]
        return self._caller(call)

    def _caller(self, call: Call) -> _Caller:
        if call.principal is None:
            return _Caller(NOBODY, _as_served(reader_of(NOBODY)))
        did, standing = Did(call.principal), self._standings.of(call.principal)
        # Whoever read it, the gate too, saw the suspension while it was there.
        if self._standings.take_lifted(did, standing):
            self._memory.put(did, self._memory.of(did).lifted())
        check_standing(standing, call.key_id or "")
        policy = None if standing.policy is None else self._served(standing.policy.policy)
        return _Caller(did, policy, standing.open_proposals)

    def _served(self, policy: AgentPolicy) -> AgentPolicy:
        # To find a policy by its value is to hash all of it; the same object comes for as long as a block.
        if self._last_policy is None or self._last_policy[0] is not policy:
            self._last_policy = policy, _as_served(policy)
        return self._last_policy[1]

    def _judged(self, caller: _Caller, tool: str, given: JsonObject) -> words.Call:
        return words.Call(
            principal=caller.did,
            tool=tool,
            arguments=given,
            now_ns=self._clock(),
            open_proposals=caller.open_proposals,
            objects=named(tool, given),
        )

    def _tell(self, principal: Did, judgement: Judgement, call: Call) -> None:
        reason = judgement.reasons[0]
        _log.warning("%s is suspended: %s", principal, reason.facts.get("cause"))
        try:
            self._on_suspend.suspended(principal, reason, call)
        except Exception:  # noqa: BLE001 - the suspension stands here whatever becomes of its telling
            _log.exception("the suspension of %s could not be told", principal)


def _asked(call: Call) -> tuple[str, JsonObject] | None:
    """Give the tool and arguments that a call comes to; None for what calls none."""
    if call.kind == "tool":
        return call.name, call.arguments if isinstance(call.arguments, dict) else {}
    if call.kind == "resource":
        try:
            return resources.tool_of(call.name)
        except Refused:
            return _UNKNOWN
    return None


def _may(policy: AgentPolicy | None, name: str, given: JsonObject | None) -> bool:
    tool = None if policy is None else policy.tool(name)
    if tool is None or given is None:
        return tool is not None
    try:
        arguments.check(given, tool)
    except Refused:
        return False
    return True


def _may_prompt(call: Call, policy: AgentPolicy | None) -> bool:
    return all(_may(policy, tool, None) for tool in prompts.named(call.name).tools)


def _not_allowed() -> Refused:
    return Refused(
        Code.TOOL_NOT_ALLOWED,
        got="a prompt that tells to use other tools",
        expected="one whose tools the agent's policy names",
        todo="ask an operator for a policy",
    )


@functools.lru_cache(maxsize=256)
def _as_served(policy: AgentPolicy) -> AgentPolicy:
    """Give a policy that knows what the server does of its tools.

    Where their answers hold what looks random, and which open proposals, whatever the policy says of that.
    """
    tools = tuple(
        dataclasses.replace(
            tool,
            opaque_paths=(*tool.opaque_paths, *BY_NAME[tool.tool].opaque),
            opens_proposal=BY_NAME[tool.tool].opens_proposal,
        )
        if tool.tool in BY_NAME
        else tool
        for tool in policy.tools
    )
    return dataclasses.replace(policy, tools=tools)
