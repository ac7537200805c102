"""Headers this process may believe, each at its height.

Owns the walk from the root of trust to any height: forwards by bisection, backwards along the hash links
of a believed header. Promises that what it returns was verified, that the newest is kept in the trust
store at once, and that it never returns to an older newest. Never reads state.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from consensus.light.bisection import bisect, drive
from consensus.light.predicates import is_not_from_future, is_within_trusting_period
from consensus.light.types import LightBlock, Options, SignedHeader, Trusted
from consensus.light.verifier import linked_back, trust_root
from consensus.light.witness import cross_check
from consensus.trust_store import TrustRoot, TrustStore
from ledger.errors import Code, EnvironmentFault, Refused, VerificationFailed
from ledger.limits import HISTORY_HEIGHTS

BACKWARD_HEIGHTS_MAX = 2 * HISTORY_HEIGHTS
"""How far back hash links are followed: beyond it no state can be queried anyway."""
_KEPT_HEADERS_MAX = 1024


@dataclass(frozen=True, slots=True)
class ReaderSettings:
    """How a reader judges.

    Attributes:
        options: light verification; its trusting period must stay below the chain's evidence age.
        staleness_ns: a view older than this is stale, nanoseconds.
    """

    options: Options = field(default_factory=Options)
    staleness_ns: int = 60 * 10**9


class BlockSource(Protocol):
    """Where unverified blocks come from: a node (``consensus.rpc.Rpc``), or a copy of what one said."""

    def signed_header(self, height: int) -> SignedHeader:
        """Give header and commit of ``height``."""
        ...

    def light_block(self, height: int) -> LightBlock:
        """Give header, commit, validator set and next validator set of ``height``."""
        ...


class VerifiedHeaders:
    """The believed headers of one chain.

    Args:
        rpc: the untrusted node.
        store: where the newest header is kept; begun by ``TrustStore.ensure``.
        clock: gives nanoseconds since the epoch.
        options: periods and trust level.
        witnesses: other nodes, asked whether they see the same headers.

    Raises:
        EnvironmentFault: HOME_INVALID where the store was never begun, TRUST_STORE_CORRUPT.
    """

    def __init__(
        self,
        rpc: BlockSource,
        store: TrustStore,
        *,
        clock: Callable[[], int],
        options: Options,
        witnesses: Sequence[BlockSource] = (),
    ) -> None:
        state = store.load()
        if state is None:
            raise EnvironmentFault(
                Code.HOME_INVALID,
                got="no trust store",
                expected="a root of trust",
                todo="name one: the genesis file, or a height and its hash",
                file=str(store.path),
            )
        self._rpc, self._store, self._clock, self._options = rpc, store, clock, options
        self._witnesses = [witness.light_block for witness in witnesses]
        self._state = state
        self._known: OrderedDict[int, Trusted] = OrderedDict()
        if state.newest is not None:
            self._remember(state.newest)

    @property
    def root(self) -> TrustRoot:
        """The root of trust."""
        return self._state.root

    @property
    def newest(self) -> Trusted | None:
        """The newest believed header; None before the first."""
        return self._state.newest

    def at(self, height: int) -> Trusted:
        """Give the believed header of ``height``.

        Raises:
            VerificationFailed: whatever a block on the way fails by.
            Refused: HEIGHT_NOT_AVAILABLE below the root, or more than ``BACKWARD_HEIGHTS_MAX`` under the
                newest.
            EnvironmentFault: the node does not answer.
        """
        if height in self._known:
            return self._known[height]
        newest = self._state.newest or self._begin()
        if height > newest.height:
            return self._forwards(newest, height)
        return newest if height == newest.height else self._backwards(height)

    def _begin(self) -> Trusted:
        root = self._state.root
        block = self._rpc.light_block(root.height)
        _is_genesis_set(block, root)
        trusted = trust_root(block, root.chain_id, root.hash)
        now_ns = self._clock()
        is_within_trusting_period(trusted.header, self._options.trusting_period_ns, now_ns)
        is_not_from_future(trusted.header, self._options.clock_drift_ns, now_ns)
        self._believe([trusted])
        return trusted

    def _forwards(self, newest: Trusted, height: int) -> Trusted:
        trace: list[Trusted] = []
        now_ns = self._clock()
        try:
            target = drive(bisect(newest, height, self._options, now_ns, trace=trace), self._rpc.light_block)
        except (VerificationFailed, EnvironmentFault):
            if not self._witnesses:
                self._believe(trace)
            raise
        cross_check(target, newest, self._options, now_ns, self._witnesses)
        self._believe(trace)
        return target

    def _backwards(self, height: int) -> Trusted:
        above = min(h for h in self._known if h > height)
        if above - height > BACKWARD_HEIGHTS_MAX or height < self._state.root.height:
            raise Refused(
                Code.HEIGHT_NOT_AVAILABLE,
                got=height,
                expected=f"a height from {max(self._state.root.height, above - BACKWARD_HEIGHTS_MAX)}",
            )
        trusted = self._known[above]
        while trusted.height > height:
            older = self._rpc.signed_header(trusted.height - 1).header
            trusted = linked_back(older, trusted)
            self._remember(trusted)
        return trusted

    def _believe(self, verified: list[Trusted]) -> None:
        if not verified:
            return
        for trusted in verified:
            self._remember(trusted)
        self._state = replace(self._state, newest=verified[-1], verified_at_ns=self._clock())
        self._store.save(self._state)

    def _remember(self, trusted: Trusted) -> None:
        self._known[trusted.height] = trusted
        newest = self._state.newest
        while len(self._known) > _KEPT_HEADERS_MAX:
            height, oldest = self._known.popitem(last=False)
            if newest is not None and height == newest.height:
                self._known[height] = oldest


def _is_genesis_set(block: LightBlock, root: TrustRoot) -> None:
    """With the genesis as root, the first block's set must be the genesis validators."""
    if root.validators is not None and block.validators != root.validators:
        raise VerificationFailed(
            Code.TRUST_ROOT_MISMATCH,
            got=f"{len(block.validators.validators)} other validators",
            expected="the validators of the genesis file",
            height=block.height,
        )
