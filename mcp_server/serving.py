"""Serving a ledger: the joining of transport, gate, guard and whatever stands around them.

Promises that every call of every transport passes the guard, and that over HTTP nobody is served unknown but
where anybody may be.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ledger.envelope import AnySigningKey
from ledger.errors import Code, Refused
from mcp_server.audit.around import Auditing, audited
from mcp_server.audit.door import Door
from mcp_server.auth.assertion import check_key
from mcp_server.chain import Chain, Principal
from mcp_server.guarding import Guarded, OnSuspend
from mcp_server.listening import Listening
from mcp_server.proposer import Proposer
from mcp_server.source import Source
from mcp_server.standing import Standings, check_standing


@dataclass(frozen=True, slots=True)
class Serving:
    """How to serve.

    Attributes:
        where: the address over HTTP; None for standard streams.
        principal: who calls over standard streams; None for nobody.
        around: gives the chain that stands around the guard: the audit.
        on_suspend: told of suspensions; None to remember them only.
        keys: by DID, the keys of the agents whose word this server signs; without, it only reads.
        clock: gives nanoseconds since the epoch.
        monotonic_ns: gives nanoseconds of a clock that nobody sets: budgets and what was used go by it.
        door: counts who is not let in, and what is no message.
    """

    where: Listening | None = None
    principal: Principal | None = None
    around: Callable[[Chain], Chain] | None = None
    on_suspend: OnSuspend | None = None
    keys: Mapping[str, Sequence[AnySigningKey]] = field(default_factory=dict)
    clock: Callable[[], int] = time.time_ns
    monotonic_ns: Callable[[], int] = time.monotonic_ns
    door: Door | None = None


def serve_audited(source: Source, how: Serving, auditing: Auditing | None) -> None:
    """Serve as ``serve`` does, with the audit around every call; without one where ``auditing`` is None.

    Raises:
        ConclaveError: as ``serve`` and ``audited``.
    """
    with audited(auditing) as around:
        if auditing is not None:
            how = replace(how, around=around, on_suspend=auditing.suspensions, door=auditing.door)
        serve(source, how)


def serve(source: Source, how: Serving) -> None:
    """Serve until the input ends or a signal comes; over HTTP says on standard error where.

    Raises:
        Refused: why the principal is not believed; KEY_FILE_INVALID.
        VerificationFailed: the ledger cannot be believed now, where a principal is named.
        EnvironmentFault: PORT_TAKEN, KEY_FILE_INVALID; the node does not answer.
    """
    standings = Standings(source)
    if how.principal is not None:
        check_standing(standings.of(how.principal.did), how.principal.key_id)
    for did, signing in how.keys.items():
        for key in signing:
            check_key(standings.of(did).identity, key.key_id)
    guarded: Chain = Guarded(standings, how.monotonic_ns, how.on_suspend)
    chain = guarded if how.around is None else how.around(guarded)
    proposer = Proposer(source.rpc, source.reader, how.keys) if how.keys else None
    if how.where is None:
        _over_streams(source, chain, how, proposer)
    else:
        _over_http(source, chain, standings, how, proposer)


def _over_streams(source: Source, chain: Chain, how: Serving, proposer: Proposer | None) -> None:
    # The protocol's package costs seconds and memory: whoever only asks for help pays nothing.
    from mcp_server import pipes
    from mcp_server.rewording import nobody
    from mcp_server.server import build

    _quiet()
    count = nobody if how.door is None else how.door.refused
    pipes.run(build(source, chain, local=how.principal, proposer=proposer), count)


def _over_http(
    source: Source, chain: Chain, standings: Standings, how: Serving, proposer: Proposer | None
) -> None:
    from mcp_server import listener, web
    from mcp_server.auth.metadata import Origin
    from mcp_server.gate import Gate
    from mcp_server.rewording import nobody
    from mcp_server.server import build
    from mcp_server.turn import Turn

    if how.principal is not None:
        raise Refused(
            Code.USAGE,
            got="an agent named for everybody who calls over HTTP",
            expected="each agent with its own token",
            todo="leave out the agent; see docs/guides/mcp.md",
        )
    where = how.where
    assert where is not None
    _quiet()
    tls = listener.tls_of(where)
    bound = listener.listen(where)
    origin, turn = Origin(where.origin(bound.getsockname()[1])), Turn()
    gate = None if where.is_anonymous else Gate(origin, standings, turn, how.clock, how.monotonic_ns)
    server = build(source, chain, turn=turn, proposer=proposer)
    sys.stderr.write(json.dumps({"url": origin.resource}) + "\n")
    sys.stderr.flush()
    count = nobody if how.door is None else how.door.refused
    listener.run(web.application(server, gate, how.door), bound, tls, count)


def _quiet() -> None:
    from runtime import log

    log.configure()
    # The package tells of every request that it began and ended with it.
    logging.getLogger("mcp").setLevel(logging.WARNING)
    # It repeats what strangers sent; who is not let in is counted in the audit.
    logging.getLogger("mcp.server.transport_security").setLevel(logging.ERROR)
