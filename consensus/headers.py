"""Headers this process may believe, each at its height.

Owns the walk from the root of trust to any height: forwards by bisection, backwards along the hash links
of a believed header. Promises that what it returns was verified, confirmed by a witness where there are any
(or named by the hash of what was), and kept in the trust store before, and that it never returns to an older
newest. Never reads state.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from consensus.light.bisection import bisect, drive
from consensus.light.predicates import is_not_from_future, is_within_trusting_period
from consensus.light.types import LightBlock, Options, Trusted
from consensus.light.verifier import linked_back, trust_root
from consensus.sources import BlockSource
from consensus.trust_store import TrustRoot, TrustStore
from consensus.witness import Panel
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


class VerifiedHeaders:
    """The believed headers of one chain.

    Args:
        rpc: the untrusted node; through a ``Panel`` every header is confirmed by a witness too.
        store: where the newest header is kept; begun by ``TrustStore.ensure``.
        clock: gives nanoseconds since the epoch.
        options: periods and trust level.

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
        self._panel = rpc if isinstance(rpc, Panel) else None
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
        if self._panel is not None:
            self._panel.incidents.check()
        if height in self._known:
            return self._known[height]
        newest = self._state.newest or self._begin()
        if height > newest.height:
            return self._forwards(newest, height)
        return newest if height == newest.height else self._backwards(height)

    def _begin(self) -> Trusted:
        now_ns = self._clock()

        def first(source: BlockSource) -> Trusted:
            return _first(source, self._state.root, self._options, now_ns)

        if self._panel is None:
            found = first(self._rpc)
        elif self._state.root.hash is not None:
            # The person who named the hash has confirmed it.
            found = self._panel.within_bounds(first)
        else:
            found = self._panel.confirmed_first(first, now_ns)
        self._believe([found])
        return found

    def _forwards(self, newest: Trusted, height: int) -> Trusted:
        now_ns = self._clock()
        if self._panel is not None:
            found = self._panel.confirmed(newest, height, self._options, now_ns)
            self._believe([found])
            return found
        trace: list[Trusted] = []
        try:
            return drive(bisect(newest, height, self._options, now_ns, trace=trace), self._rpc.light_block)
        finally:
            # What was verified before the walk broke off is kept.
            self._believe(trace)

    def _backwards(self, height: int) -> Trusted:
        above = min(h for h in self._known if h > height)
        if above - height > BACKWARD_HEIGHTS_MAX or height < self._state.root.height:
            raise Refused(
                Code.HEIGHT_NOT_AVAILABLE,
                got=height,
                expected=f"a height from {max(self._state.root.height, above - BACKWARD_HEIGHTS_MAX)}",
            )

        def down(source: BlockSource) -> Trusted:
            # What was linked before a node failed is kept: the next goes on from there.
            trusted = self._known[min(h for h in self._known if h > height)]
            while trusted.height > height:
                trusted = linked_back(source.signed_header(trusted.height - 1).header, trusted)
                self._remember(trusted)
            return trusted

        return down(self._rpc) if self._panel is None else self._panel.within_bounds(down)

    def _believe(self, verified: Sequence[Trusted]) -> None:
        if not verified:
            return
        state = replace(self._state, newest=verified[-1], verified_at_ns=self._clock())
        # What the store refuses is not believed, now or when it is asked for again.
        self._store.save(state)
        self._state = state
        for trusted in verified:
            self._remember(trusted)

    def _remember(self, trusted: Trusted) -> None:
        self._known[trusted.height] = trusted
        newest = self._state.newest
        while len(self._known) > _KEPT_HEADERS_MAX:
            height, oldest = self._known.popitem(last=False)
            if newest is not None and height == newest.height:
                self._known[height] = oldest


def _first(source: BlockSource, root: TrustRoot, options: Options, now_ns: int) -> Trusted:
    block = source.light_block(root.height)
    _is_genesis_set(block, root)
    trusted = trust_root(block, root.chain_id, root.hash)
    is_within_trusting_period(trusted.header, options.trusting_period_ns, now_ns)
    is_not_from_future(trusted.header, options.clock_drift_ns, now_ns)
    return trusted


def _is_genesis_set(block: LightBlock, root: TrustRoot) -> None:
    """With the genesis as root, the first block's set must be the genesis validators."""
    if root.validators is not None and block.validators != root.validators:
        raise VerificationFailed(
            Code.TRUST_ROOT_MISMATCH,
            got=f"{len(block.validators.validators)} other validators",
            expected="the validators of the genesis file",
            height=block.height,
        )
