"""What the ledger says of who calls, at the newest height: identity, policy, suspension, open proposals.

Owns the reading of it and its short memory, and who was seen suspended there. Promises that a standing is of
the newest block that was verified, proven, that nobody is believed to stand well by a state that is stale,
and that a suspension counts as lifted only by a state that is not older than it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from consensus import agent_reader
from consensus.agent_reader import PolicyInForce
from consensus.evidence import optional
from consensus.reader import View, check_fresh
from ledger import account, canonical, shape, statekeys
from ledger.agent_records import SuspensionRecord
from ledger.errors import Code, Refused
from ledger.identity import IdentityRecord
from mcp_server.auth.assertion import check_key
from mcp_server.source import Source

KEPT_MAX = 256


@dataclass(frozen=True, slots=True)
class Standing:
    """A principal as the ledger has it.

    Attributes:
        height: as of which.
        identity: None where the DID has none.
        policy: None where the agent has none.
        suspension: why it is cut off; None while it is not.
        open_proposals: how many of its proposals are open.
    """

    height: int
    identity: IdentityRecord | None
    policy: PolicyInForce | None = None
    suspension: SuspensionRecord | None = None
    open_proposals: int = 0


class Standings:
    """Reads standings; keeps those of the newest height."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._kept: OrderedDict[str, Standing] = OrderedDict()
        self._cut_off: dict[str, int] = {}

    def of(self, did: str) -> Standing:
        """Give a principal's standing as of the newest block.

        Raises:
            VerificationFailed: STALE; and as ``View.read``.
            EnvironmentFault: the node does not answer.
        """
        view = self._source.view()
        check_fresh(view)
        known = self._kept.get(did)
        if known is not None and known.height == view.height:
            return known
        found = _read(view, did)
        if found.suspension is not None:
            self.noted(did, found.suspension.height)
        self._kept[did] = found
        self._kept.move_to_end(did)
        while len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)
        return found

    def noted(self, did: str, height: int) -> None:
        """Take note that the ledger has a suspension since ``height``, proven; any thread may call it."""
        self._cut_off[did] = max(height, self._cut_off.get(did, 0))

    def take_lifted(self, did: str, standing: Standing) -> bool:
        """Tell once that a suspension that the ledger had is no more, as of ``standing``."""
        since = self._cut_off.get(did)
        if since is None or standing.suspension is not None or standing.height < since:
            return False
        del self._cut_off[did]
        return True


def _read(view: View, did: str) -> Standing:
    identity = agent_reader.identity_of(view, did).value
    if identity is None:
        return Standing(view.height, None)
    used = view.read(lambda get: account.read(get(statekeys.account(did)))).value
    waiting = sum(count for height, count in used.open if height >= view.height)
    policy = agent_reader.policy_of(view, did).value
    suspension = agent_reader.suspension_of(view, did).value
    return Standing(view.height, identity, policy, suspension, waiting)


def check_standing(standing: Standing, key_id: str) -> None:
    """Check that a principal may speak now, by the key it is known by.

    Raises:
        Refused: as ``check_key``; AGENT_SUSPENDED.
    """
    check_key(standing.identity, key_id)
    found = standing.suspension
    if found is not None:
        raise Refused(
            Code.AGENT_SUSPENDED,
            got=f"an agent that is cut off since height {found.height}",
            expected="an agent that is not suspended",
            todo="a person looks at the audit and lifts it",
            height=found.height,
        )


def owner_of(source: Source, key_id: str) -> str:
    """Give the DID of the identity that a key belongs to.

    Raises:
        Refused: SIGNER_UNKNOWN.
        VerificationFailed, EnvironmentFault: as ``View.read``.
    """
    did = source.view().read(lambda get: optional(get, statekeys.key(key_id), _owner)).value
    if did is None:
        raise Refused(
            Code.SIGNER_UNKNOWN,
            got=key_id,
            expected="a key of an identity on the ledger",
            todo="have the agent's identity put on the ledger",
        )
    return did


def _owner(content: bytes) -> str:
    value = shape.fields(canonical.load_plain(content), "key", required=("algorithm", "did", "publicKey"))
    return shape.did(value["did"], "key.did")
