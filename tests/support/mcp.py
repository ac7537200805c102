"""The MCP server's source over a ledger in memory, whose node also says what a proposal still needs."""

from __future__ import annotations

from typing import Any

from abci_app.dry_run import dry_run
from abci_app.machine.context import Context
from consensus.answers import QueryAnswer
from consensus.reader import VerifiedReader
from consensus.speaking import DRY_RUN_PATH
from consensus.trust_store import MemoryStore
from ledger import canonical
from ledger.standard import ledger_object
from ledger.types import JsonObject
from mcp_server.answering import Answer, answer, tool_named
from mcp_server.policies import Scope, proposing_policy
from mcp_server.source import Source
from state.reader import Overlay
from tests.support.ledger import EAST, ROBOT, Ledger, Node, _Values
from tests.unit.consensus.ledgers import root_of

KEY = b"of digests"


class Speaking(Node):
    """A node that answers dry runs too."""

    def abci_query(self, path: str, data: bytes, height: int) -> QueryAnswer:
        """Give a value with its proof, or its word on a proposal."""
        if path != DRY_RUN_PATH:
            return super().abci_query(path, data, height)
        ledger = self.ledger
        state = Overlay(_Values(ledger.values[ledger.height]))
        time = ledger.chain.time_ns(ledger.height) // 10**9
        value = dry_run(Context(state, ledger.height + 1, time, ledger.constants), data)
        said: QueryAnswer = self._answer(
            "dry_run", QueryAnswer(0, "", data, canonical.dump(value), ledger.height, None)
        )
        return said


def source_of(node: Node, *, later_ns: int = 0) -> Source:
    """Read ``node`` with the ledger's own time, or a later one, as the clock."""
    root = root_of(node.ledger)
    reader = VerifiedReader(node, MemoryStore(root), clock=lambda: node.ledger.chain.now_ns + later_ns)
    return Source(node, reader, root, KEY)


def ask(source: Source, tool: str, **arguments: Any) -> Answer:
    """Call a tool."""
    return answer(source, tool_named(tool), arguments)


def items(source: Source, tool: str, **arguments: Any) -> list[JsonObject]:
    """Call a tool; give its entries."""
    found: list[JsonObject] = ask(source, tool, **arguments).content["items"]
    return found


def a_story() -> Ledger:
    """Give a ledger with two revisions, a report, an open proposal and one that was rolled back to."""
    ledger = Ledger()
    ledger.commit()
    ledger.release("one")
    ledger.report(1)
    ledger.release("two")
    ledger.roll_back(1)
    ledger.commit()
    return ledger


def let_propose(ledger: Ledger, scope: Scope | None = None) -> Ledger:
    """Give the robot a policy by which it proposes within ``scope``: of the guestbook on the cluster east."""
    wanted = scope or Scope(["guestbook"], ["east"], ["ConfigMap", "Deployment.apps", "Secret"])
    spec = proposing_policy(ROBOT.did, wanted, [EAST.did])
    ledger.configure(ledger_object("AgentPolicy", ROBOT.name, spec))
    ledger.commit()
    return ledger
