"""CometBFT's ``config.toml`` and the application's ``app.toml``, written whole.

Owns the node configuration: sizes that let a 4 MiB release pass, a closed set of peers, RPC on loopback only,
a heartbeat block when idle. Promises one text for CometBFT 0.38 and 0.39 and that every size comes from
``ledger.limits``. It never reads or merges a file: what is not written here has CometBFT's default.

Source: CometBFT config/toml.go v0.38.25 and v0.39.4; notes on each deviation beside it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from consensus.light.types import HASH_BYTES
from consensus.node.spec import NodeSpec, StateSync
from ledger.errors import Code, Refused, unwritable
from ledger.limits import (
    BLOCK_BYTES_MAX,
    CLUSTERS_MAX,
    ENVELOPE_BYTES_MAX,
    MEMPOOL_BYTES_MAX,
    MEMPOOL_TXS_MAX,
    MIB,
    RPC_REQUEST_BYTES_MAX,
)
from state.limits import SNAPSHOT_CHUNKS_MAX

MEMPOOL_CACHE_TXS = 2 * MEMPOOL_TXS_MAX
"""What was committed or waits is not judged again when peers repeat it (docs/spec/spam.md §4)."""
RECHECK_TIMEOUT_S = 10
"""CometBFT discards late answers of a recheck; a full mempool takes a Python application seconds."""
P2P_BYTES_PER_S = 64 * MIB
"""A block of 8 MiB reaches a peer in an eighth of a second; the default 5 MB/s would need two seconds."""
RPC_BATCH_MAX = 200
RPC_CONNECTIONS_MAX = 5 * CLUSTERS_MAX
"""Every bridge of a ledger on one node: each listens, reads, reports, and confirms another node's headers."""
UNIX_SOCKET_NAME = "app.sock"
STATE_SYNC_SERVERS_MIN = 2
"""CometBFT's own minimum (statesync/stateprovider.go)."""
_SERVER = re.compile(r"https?://[A-Za-z0-9._\[\]:-]{1,255}:[0-9]{1,5}/?")

assert ENVELOPE_BYTES_MAX < MEMPOOL_BYTES_MAX
assert BLOCK_BYTES_MAX < P2P_BYTES_PER_S

_TEMPLATE = """\
# Written by conclave; edits are lost when the node's configuration is written again.
proxy_app = {proxy_app}
moniker = {moniker}
db_backend = "goleveldb"
db_dir = "data"
log_level = {log_level}
log_format = "plain"
genesis_file = "config/genesis.json"
priv_validator_key_file = "config/priv_validator_key.json"
priv_validator_state_file = "data/priv_validator_state.json"
priv_validator_laddr = ""
node_key_file = "config/node_key.json"
abci = {transport}
filter_peers = false

# RPC has no authentication: loopback only.
[rpc]
laddr = "tcp://127.0.0.1:{rpc_port}"
cors_allowed_origins = []
grpc_laddr = ""
unsafe = false
max_open_connections = {rpc_connections_max}
max_subscription_clients = {rpc_connections_max}
max_subscriptions_per_client = 5
timeout_broadcast_tx_commit = "10s"
max_request_batch_size = {rpc_batch_max}
max_body_bytes = {rpc_request_bytes_max}
max_header_bytes = 65536
pprof_laddr = ""

# A closed set of peers, which may share a host.
[p2p]
laddr = "tcp://{p2p_host}:{p2p_port}"
external_address = ""
seeds = ""
persistent_peers = {peers}
persistent_peers_max_dial_period = "2s"
unconditional_peer_ids = {peer_ids}
addr_book_file = "config/addrbook.json"
addr_book_strict = false
allow_duplicate_ip = true
max_num_inbound_peers = 64
max_num_outbound_peers = 64
flush_throttle_timeout = "{flush_throttle}ms"
send_rate = {p2p_bytes_per_s}
recv_rate = {p2p_bytes_per_s}
pex = false
seed_mode = false
handshake_timeout = "5s"
dial_timeout = "3s"

# Only 0.39 knows this section; off there by default too.
[p2p.libp2p]
enabled = false

[mempool]
type = "flood"
recheck = true
recheck_timeout = "{recheck_timeout_s}s"
broadcast = true
wal_dir = ""
size = {mempool_txs_max}
max_txs_bytes = {mempool_bytes_max}
cache_size = {mempool_cache_txs}
keep-invalid-txs-in-cache = false
max_tx_bytes = {envelope_bytes_max}

[statesync]
{state_sync}

# adaptive_sync, known to 0.39 only, would let a syncing validator vote: off.
[blocksync]
version = "v0"
adaptive_sync = false

# Equal on all nodes. With all votes in, the next height starts at once (skip_timeout_commit).
[consensus]
wal_file = "data/cs.wal/wal"
timeout_propose = "{propose}ms"
timeout_propose_delta = "{propose_delta}ms"
timeout_prevote = "{vote}ms"
timeout_prevote_delta = "{vote_delta}ms"
timeout_precommit = "{vote}ms"
timeout_precommit_delta = "{vote_delta}ms"
timeout_commit = "{commit}ms"
skip_timeout_commit = true
double_sign_check_height = 0
create_empty_blocks = false
create_empty_blocks_interval = "{heartbeat}ms"
peer_gossip_sleep_duration = "{gossip_sleep}ms"
peer_query_maj23_sleep_duration = "2000ms"

# Results are kept: a receipt is proved from them.
[storage]
discard_abci_responses = false

[tx_index]
indexer = "kv"

[instrumentation]
prometheus = false
"""


_STATE_SYNC = """\
enable = true
rpc_servers = {servers}
trust_height = {height}
trust_hash = "{hash}"
trust_period = "{period}s"
discovery_time = "{discovery}s"
chunk_request_timeout = "10s"
chunk_fetchers = "4"
max_snapshot_chunks = {chunks_max}"""

_APPLICATION_TEMPLATE = """\
# Written by conclave; edits are lost when the node's configuration is written again.
"""


def proxy_app(spec: NodeSpec) -> str:
    """Give the application's address as CometBFT dials it.

    The socket transport takes a path relative to the home, where both processes run, so any home is short
    enough; gRPC's target syntax knows absolute paths only.
    """
    if spec.transport == "grpc":
        return f"unix://{spec.home.absolute() / UNIX_SOCKET_NAME}"
    return f"unix://{UNIX_SOCKET_NAME}"


def config_toml(spec: NodeSpec) -> str:
    """Give the whole ``config.toml`` of a node."""
    timing = spec.timing
    return _TEMPLATE.format(
        proxy_app=_quoted(proxy_app(spec)),
        moniker=_quoted(spec.moniker),
        log_level=_quoted(spec.log_level),
        transport=_quoted(spec.transport),
        rpc_port=_port(spec.rpc_port),
        p2p_host=spec.p2p_host,
        p2p_port=_port(spec.p2p_port),
        peers=_quoted(",".join(str(peer) for peer in spec.peers)),
        peer_ids=_quoted(",".join(peer.node_id for peer in spec.peers)),
        rpc_batch_max=RPC_BATCH_MAX,
        rpc_connections_max=RPC_CONNECTIONS_MAX,
        rpc_request_bytes_max=RPC_REQUEST_BYTES_MAX,
        p2p_bytes_per_s=P2P_BYTES_PER_S,
        recheck_timeout_s=RECHECK_TIMEOUT_S,
        mempool_txs_max=MEMPOOL_TXS_MAX,
        mempool_bytes_max=MEMPOOL_BYTES_MAX,
        mempool_cache_txs=MEMPOOL_CACHE_TXS,
        envelope_bytes_max=ENVELOPE_BYTES_MAX,
        propose=timing.propose,
        propose_delta=timing.propose_delta,
        vote=timing.vote,
        vote_delta=timing.vote_delta,
        commit=timing.commit,
        heartbeat=timing.heartbeat,
        gossip_sleep=timing.gossip_sleep,
        flush_throttle=timing.flush_throttle,
        state_sync=_state_sync(spec.state_sync),
    )


def application_toml(spec: NodeSpec) -> str:
    """Give the whole ``app.toml`` of a node."""
    if spec.snapshot_every is None:
        return _APPLICATION_TEMPLATE
    return f"{_APPLICATION_TEMPLATE}snapshot_every = {spec.snapshot_every}\n"


def write_config(spec: NodeSpec) -> Path:
    """Write ``config.toml`` and ``app.toml`` into the node's home; give the path of the former.

    Raises:
        Refused: FIELD_INVALID for a state sync that cannot work.
        EnvironmentFault: HOME_INVALID.
    """
    _replace(spec.paths.application_config, application_toml(spec))
    return _replace(spec.paths.config, config_toml(spec))


def _state_sync(wish: StateSync | None) -> str:
    if wish is None:
        return "enable = false"
    servers = [server for server in wish.rpc_servers if _SERVER.fullmatch(server)]
    if len(servers) < STATE_SYNC_SERVERS_MIN or len(servers) != len(wish.rpc_servers):
        raise Refused(
            Code.FIELD_INVALID,
            got=", ".join(wish.rpc_servers),
            expected=f"at least {STATE_SYNC_SERVERS_MIN} RPC servers, each http://host:port",
            todo="name two nodes of this ledger; what one says is compared with the other",
            field="rpc_servers",
        )
    if wish.trust_height < 1 or len(wish.trust_hash) != HASH_BYTES:
        raise Refused(
            Code.FIELD_INVALID,
            got=f"height {wish.trust_height}, hash of {len(wish.trust_hash)} bytes",
            expected="a height from 1 and a header hash of 32 bytes",
            field="trust",
        )
    return _STATE_SYNC.format(
        servers=_quoted(",".join(servers)),
        height=wish.trust_height,
        hash=wish.trust_hash.hex().upper(),
        period=wish.trust_period_s,
        discovery=wish.discovery_s,
        chunks_max=SNAPSHOT_CHUNKS_MAX,
    )


def _replace(path: Path, text: str) -> Path:
    staged = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        staged.write_text(text, encoding="utf-8")
        staged.replace(path)
    except OSError as error:
        raise unwritable(error, path=str(path)) from error
    return path


def _quoted(text: str) -> str:
    # A TOML basic string is a JSON string but for DEL, which JSON leaves bare.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _port(number: int) -> int:
    assert 0 < number < 2**16, number
    return number
