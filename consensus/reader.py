"""The one door through which ledger state becomes believed.

Owns the making of ``Verified`` values: nothing else holds the seal. Promises that each was proven by ICS-23
against the app hash of a header that light verification accepts, and that a view never goes back in time.
Never judges freshness: it shows the age, the caller decides.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from consensus.answers import NodeStatus, QueryAnswer
from consensus.foresight import STATE_PATH, Foresight
from consensus.headers import ReaderSettings, VerifiedHeaders
from consensus.light.predicates import is_not_from_future
from consensus.light.types import Trusted
from consensus.sources import Batching, Rpc, newest_of
from consensus.trust_store import TrustStore
from consensus.verified import _SEAL, Verified
from consensus.witness import ask_another, attempt
from ledger import canonical, statekeys
from ledger.errors import Code, ConclaveError, EnvironmentFault, VerificationFailed, caused
from ledger.types import Json
from state.proof import parse_proof, verify_membership, verify_non_membership
from state.spec import SMT

T = TypeVar("T")
Get = Callable[[bytes], bytes | None]
"""Gives the proven value of a key, None where its absence is proven."""


class View:
    """The ledger's state at one height, read with proof. Made by ``VerifiedReader.at``.

    Attributes:
        height: the height whose state this is; the header of ``height + 1`` proves it.
        time_ns: that header's time.
        chain_id: the chain.
        age_ns: how old the header was when the view was made.
        is_stale: whether that is beyond the reader's ``staleness_ns``.
    """

    __slots__ = (
        "_app_hash",
        "_known",
        "_rpc",
        "_told",
        "age_ns",
        "chain_id",
        "height",
        "is_stale",
        "time_ns",
    )

    def __init__(
        self,
        rpc: Rpc,
        proving: Trusted,
        now_ns: int,
        staleness_ns: int,
        told: Mapping[bytes, QueryAnswer] | None = None,
    ) -> None:
        self._rpc, self._app_hash = rpc, proving.header.app_hash
        self._told = told or {}
        self._known: dict[bytes, bytes | None] = {}
        self.height = proving.height - 1
        self.time_ns = proving.header.time_ns
        self.chain_id = proving.header.chain_id
        self.age_ns = max(0, now_ns - self.time_ns)
        self.is_stale = self.age_ns > staleness_ns

    @property
    def app_hash(self) -> bytes:
        """The root of this state, as the header says: two views with the same one show the same."""
        return self._app_hash

    @property
    def keys_read(self) -> tuple[bytes, ...]:
        """The keys whose values, or absence, were proven through this view so far, sorted."""
        return tuple(sorted(self._known))

    def proven(self, keys: Iterable[bytes]) -> dict[bytes, bytes | None]:
        """Give what was proven of ``keys`` through this view so far."""
        return {key: self._known[key] for key in keys if key in self._known}

    def get(self, key: bytes) -> Verified[bytes | None]:
        """Give the value of ``key``, or proven absence.

        Raises:
            VerificationFailed: PROOF_MISSING, PROOF_INVALID.
            EnvironmentFault: the node does not answer; HEIGHT_NOT_AVAILABLE or RPC_REFUSED where neither its
                application tells nor that of another.
        """
        return self.read(lambda get: get(key))

    def json(self, key: bytes) -> Verified[Json]:
        """Give the JSON value of ``key``; None where its absence is proven.

        Raises:
            VerificationFailed: LEDGER_RECORD_INVALID for bytes that are not canonical JSON; and as ``get``.
        """
        return self.read(lambda get: _load(key, get(key)))

    def read(self, compute: Callable[[Get], T]) -> Verified[T]:
        """Give what ``compute`` makes of proven values.

        Args:
            compute: a function of the values it gets and of constants; whatever else it mixed in would be
                believed too.

        Raises:
            ConclaveError: what ``get`` or ``compute`` raise.
        """
        return Verified(
            compute(_Getter(self._get, self.ahead)), self.height, self.time_ns, self.chain_id, _SEAL
        )

    def ahead(self, keys: Iterable[bytes]) -> None:
        """Have keys that are likely to be read asked in one exchange, where the node's client can.

        What does not verify, or is refused, is left to whoever reads it.

        Raises:
            EnvironmentFault: the node does not answer.
        """
        missing = [key for key in dict.fromkeys(keys) if not self._has(key)]
        if len(missing) > 1:
            self._known |= attempt(self._rpc, lambda rpc: self._ask_all(rpc, missing), refusals=True)

    def _has(self, key: bytes) -> bool:
        """Whether a key's value is proven, perhaps by an answer that was there before its proof."""
        if key not in self._known and key in self._told:
            with contextlib.suppress(ConclaveError):
                self._known[key] = _proven(self._told[key], key, self.height, self._app_hash)
        return key in self._known

    def _ask_all(self, rpc: Rpc, keys: list[bytes]) -> dict[bytes, bytes | None]:
        found: dict[bytes, bytes | None] = {}
        if isinstance(rpc, Batching):
            answers = rpc.abci_queries(STATE_PATH, keys, self.height)
            for key, answer in zip(keys, answers, strict=True):
                with contextlib.suppress(ConclaveError):
                    found[key] = _proven(answer, key, self.height, self._app_hash)
        return found

    def _get(self, key: bytes) -> bytes | None:
        if not self._has(key):
            self._known[key] = attempt(self._rpc, lambda rpc: self._ask(rpc, key), refusals=True)
        return self._known[key]

    def _ask(self, rpc: Rpc, key: bytes) -> bytes | None:
        answer = rpc.abci_query(STATE_PATH, key, self.height)
        return _proven(answer, key, self.height, self._app_hash)


class _Getter:
    """Gives proven values of a view, and lets whoever knows the next keys have them asked together."""

    __slots__ = ("_get", "ahead")

    def __init__(self, get: Get, ahead: Callable[[Iterable[bytes]], None]) -> None:
        self._get, self.ahead = get, ahead

    def __call__(self, key: bytes) -> bytes | None:
        return self._get(key)


class VerifiedReader:
    """Reads a ledger through an untrusted node.

    Args:
        rpc: the node; through a ``Panel`` (``consensus.witness``) headers are confirmed by witnesses, and a
            node that lies or fails is replaced.
        trust_store: begun by ``TrustStore.ensure`` with a root of trust.
        clock: gives nanoseconds since the epoch.
        settings: periods.
    """

    def __init__(
        self,
        rpc: Rpc,
        trust_store: TrustStore,
        *,
        clock: Callable[[], int],
        settings: ReaderSettings | None = None,
    ) -> None:
        self.settings = settings or ReaderSettings()
        self._rpc, self._clock = rpc, clock
        self._foresight = Foresight(functools.partial(attempt, rpc))
        self._headers = VerifiedHeaders(rpc, trust_store, clock=clock, options=self.settings.options)

    @property
    def chain_id(self) -> str:
        """The chain of the root of trust."""
        return self._headers.root.chain_id

    def header(self, height: int) -> Trusted:
        """Give the believed header of ``height``.

        Raises:
            VerificationFailed: whatever does not verify.
            EnvironmentFault: the node does not answer.
        """
        return self._headers.at(height)

    def newest_height(self) -> int:
        """Give the height of the node's newest block, for what that is worth: unverified.

        Raises:
            EnvironmentFault: the node does not answer.
            VerificationFailed: HEADER_CHAIN_MISMATCH if it is on another chain; STALE if it is behind what
                this reader has already verified.
        """
        return self.newest().height

    def newest(self) -> NodeStatus:
        """Give what the node says of its newest block, unverified. Raises as ``newest_height``."""
        return attempt(self._rpc, self._newest, refusals=True)

    def _newest(self, rpc: Rpc) -> NodeStatus:
        status = newest_of(rpc)
        if status.chain_id != self.chain_id:
            raise VerificationFailed(
                Code.HEADER_CHAIN_MISMATCH,
                got=status.chain_id,
                expected=self.chain_id,
                todo="use an endpoint of this ledger",
            )
        known = self._headers.newest
        if known is not None and status.height < known.height:
            raise VerificationFailed(
                Code.STALE,
                got=f"height {status.height}",
                expected=f"height {known.height} or later, already verified",
                todo="the node is behind: wait for it, or use another",
            )
        return status

    def still(self, known: Mapping[bytes, bytes | None], height: int) -> bool:
        """Tell whether the node says that values are the same at ``height``: a hint, nothing is proven.

        Raises:
            EnvironmentFault: the node does not answer.
        """
        return self._foresight.same(known, height)

    def rehearse(self, height: int, read: Callable[[Get], object]) -> None:
        """Read the state of a height that nothing proves yet, so that its view has the answers at hand.

        What ``read`` makes of it is dropped: it only tells which keys will be asked for.
        """
        with contextlib.suppress(ConclaveError):
            read(self._foresight.getter(height))

    def at(self, height: int | None = None) -> View:
        """Give the newest provable state, or that of ``height``.

        Raises:
            VerificationFailed: whatever does not verify, with its code.
            EnvironmentFault: the node does not answer; HEIGHT_NOT_AVAILABLE before the second block.
        """
        if height is None:
            return self.at_newest(self.newest_height())
        return self._view(height + 1)

    def at_newest(self, proving: int) -> View:
        """Give the state that block ``proving`` proves, taken to be the newest. Raises as ``at``."""
        view = self._view(proving)
        if view.is_stale:
            # The chain rests, or the node withholds what is newer: the next time another is asked.
            ask_another(self._rpc)
        return view

    def _view(self, proving: int) -> View:
        if proving < 2:
            raise EnvironmentFault(
                Code.HEIGHT_NOT_AVAILABLE,
                got=f"proof by height {proving}",
                expected="height 2 or later: the state of a height is proven by the next",
                todo="wait for the chain's second block",
            )
        header, now_ns = self._headers.at(proving), self._clock()
        # A header that was verified before is not judged again, but the clock may have been set back since.
        is_not_from_future(header.header, self.settings.options.clock_drift_ns, now_ns)
        told = self._foresight.of(proving - 1)
        return View(self._rpc, header, now_ns, self.settings.staleness_ns, told)


def check_fresh(view: View) -> None:
    """Refuse a view that was stale when it was made.

    Raises:
        VerificationFailed: STALE.
    """
    if view.is_stale:
        raise VerificationFailed(
            Code.STALE,
            got=f"a header {view.age_ns // 10**9} s old",
            expected="a younger one",
            todo="check that the chain makes blocks, that this node follows it, and this machine's clock",
            height=view.height,
        )


def _proven(answer: QueryAnswer, key: bytes, height: int, app_hash: bytes) -> bytes | None:
    if answer.code != 0:
        # One node's word, not the ledger's: no other code of it means anything here.
        kept = answer.code != Code.HEIGHT_NOT_AVAILABLE
        raise EnvironmentFault(
            Code.RPC_REFUSED if kept else Code.HEIGHT_NOT_AVAILABLE,
            got=answer.log[:200],
            expected="an answer of the node's application",
            number=answer.code,
            key=statekeys.text(key),
            height=height,
        )
    if answer.proof is None:
        raise VerificationFailed(
            Code.PROOF_MISSING, got="no proof", expected="an ICS-23 proof", key=statekeys.text(key)
        )
    if answer.key != key or answer.height != height:
        raise VerificationFailed(
            Code.PROOF_INVALID,
            got=f"key {answer.key.decode('ascii', 'replace')[:80]} at height {answer.height}",
            expected=f"key {key.decode('ascii', 'replace')} at height {height}",
        )
    proof = parse_proof(answer.proof)
    if answer.value:
        verify_membership(SMT, app_hash, proof, key, answer.value)
        return answer.value
    verify_non_membership(SMT, app_hash, proof, key)
    return None


def _load(key: bytes, content: bytes | None) -> Json:
    if content is None:
        return None
    try:
        return canonical.load(content)
    except ConclaveError as error:
        raise caused(VerificationFailed, Code.LEDGER_RECORD_INVALID, error, key=statekeys.text(key)) from None
