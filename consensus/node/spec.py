"""What one validator node is: names, ports, paths. Frozen records, no I/O.

Owns the layout of a node's home folder; everyone who needs a path in it asks here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Transport = Literal["socket", "grpc"]
TRUST_PERIOD_S = 14 * 24 * 3600
"""As a reader's trusting period (docs/adr/0010-times.md)."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node: its id (40 hex digits) and where its p2p port is."""

    node_id: str
    host: str
    port: int

    def __str__(self) -> str:
        """Give the form CometBFT's ``persistent_peers`` wants."""
        return f"{self.node_id}@{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Timing:
    """Consensus timing in milliseconds; equal on all nodes of a chain.

    ``heartbeat`` is how often an idle chain makes an empty block: what a reader's staleness limit rests on.
    """

    propose: int = 1000
    propose_delta: int = 500
    vote: int = 500
    vote_delta: int = 250
    commit: int = 100
    heartbeat: int = 5000
    gossip_sleep: int = 10
    flush_throttle: int = 10


DEFAULT_TIMING = Timing()


@dataclass(frozen=True, slots=True)
class StateSync:
    """How a new node joins by a snapshot of its peers instead of by every block.

    Attributes:
        trust_height: a height whose header somebody trusted named; its peers must still have it.
        trust_hash: the 32-byte hash of that header.
        rpc_servers: at least two nodes whose headers are compared, as ``http://host:port``.
        trust_period_s: how old that header may be, in seconds.
        discovery_s: how long snapshots are looked for; CometBFT's least is 5.
    """

    trust_height: int
    trust_hash: bytes
    rpc_servers: tuple[str, ...]
    trust_period_s: int = TRUST_PERIOD_S
    discovery_s: int = 15


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One node: a CometBFT and an application, sharing ``home``.

    Attributes:
        moniker: its name for people.
        home: its folder.
        p2p_port: where its peers dial it.
        rpc_port: its JSON-RPC, always on 127.0.0.1.
        p2p_host: the address its p2p port is bound to; 127.0.0.1 for a testnet on one host.
        peers: the nodes it keeps connections to, itself left out.
        transport: how CometBFT talks to the application.
        timing: consensus timing.
        log_level: CometBFT's.
        state_sync: how it joins where it has no state yet; None: by every block.
        snapshot_every: the application's snapshots, in heights; None for its default.
    """

    moniker: str
    home: Path
    p2p_port: int
    rpc_port: int
    p2p_host: str = "127.0.0.1"
    peers: tuple[Peer, ...] = ()
    transport: Transport = "socket"
    timing: Timing = DEFAULT_TIMING
    log_level: str = "info"
    state_sync: StateSync | None = None
    snapshot_every: int | None = None

    @property
    def rpc_url(self) -> str:
        """Where its JSON-RPC answers."""
        return f"http://127.0.0.1:{self.rpc_port}"

    @property
    def paths(self) -> NodePaths:
        """The files under its home."""
        return NodePaths(self.home)


@dataclass(frozen=True, slots=True)
class NodePaths:
    """The files under a node's home."""

    home: Path

    @property
    def config(self) -> Path:
        """CometBFT's configuration."""
        return self.home / "config" / "config.toml"

    @property
    def application_config(self) -> Path:
        """The application's settings."""
        return self.home / "config" / "app.toml"

    @property
    def snapshots(self) -> Path:
        """The application's snapshots."""
        return self.home / "app-snapshots"

    @property
    def genesis(self) -> Path:
        """The genesis, the same on every node."""
        return self.home / "config" / "genesis.json"

    @property
    def node_key(self) -> Path:
        """The p2p identity."""
        return self.home / "config" / "node_key.json"

    @property
    def validator_key(self) -> Path:
        """The private key that votes."""
        return self.home / "config" / "priv_validator_key.json"

    @property
    def validator_state(self) -> Path:
        """The last vote signed: never restore an old one, never delete it alone."""
        return self.home / "data" / "priv_validator_state.json"

    @property
    def application(self) -> Path:
        """The application's database folder."""
        return self.home / "app"

    @property
    def socket(self) -> Path:
        """The unix socket between CometBFT and the application."""
        return self.home / "app.sock"

    @property
    def logs(self) -> Path:
        """The folder of ``cometbft.log`` and ``app.log``."""
        return self.home / "log"

    @property
    def pid_file(self) -> Path:
        """The supervisor's pid file; ``app.pid`` and ``cometbft.pid`` lie beside it."""
        return self.home / "node.pid"
