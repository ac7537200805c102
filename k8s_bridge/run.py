"""Starting and stopping one bridge.

Owns the wiring of its parts and the process's signals. Promises a clean stop on SIGTERM and SIGINT (what runs
on the cluster is left alone), and that a bridge without trust, key or kubeconfig says so and does not start.
Holds no rule.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from types import FrameType

from consensus.doorbell import Doorbell
from consensus.headers import ReaderSettings
from consensus.reader import VerifiedReader
from consensus.rpc import open_panel
from consensus.trust_store import TrustRoot, TrustStore
from consensus.witness import Panel
from identity.signer import Signer, open_signer
from k8s_bridge.bell import Bell
from k8s_bridge.bounds import Fence
from k8s_bridge.client import KubernetesClient
from k8s_bridge.connection import Connection, connect
from k8s_bridge.deadman import Deadman, boot_clock
from k8s_bridge.holder import Holder
from k8s_bridge.lease import Belief, Predecessor
from k8s_bridge.lease_keeper import LeaseKeeper, LeaseObject
from k8s_bridge.loop import Clocks, Loop
from k8s_bridge.probes import Probes
from k8s_bridge.reconcile import Reconciler
from k8s_bridge.reporter import Channel, Reporter
from k8s_bridge.settings import BridgeSettings
from k8s_bridge.source import LedgerSource
from k8s_bridge.state_file import StateFile
from k8s_bridge.store import InventoryStore
from k8s_bridge.watch import Watches
from k8s_bridge.workers import Pool
from ledger.errors import Code, EnvironmentFault, Refused
from ledger.keys import DID_KEY_PREFIX
from runtime.clock import NS_PER_S, system_clock_ns
from runtime.log import event

_LOG = logging.getLogger("bridge")


def run(settings: BridgeSettings) -> None:
    """Run a bridge until SIGTERM or SIGINT.

    Raises:
        EnvironmentFault: HOME_INVALID, TRUST_STORE_CORRUPT, KEY_FILE_INVALID, KUBECONFIG_INVALID,
            PORT_TAKEN.
        Refused: TRUST_ROOT_MISMATCH, KEY_FILE_INVALID, KEY_NOT_OF_SIGNER, USAGE.
    """
    bell = Bell()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stopper(bell))
    serve(settings, bell)


def serve(settings: BridgeSettings, bell: Bell) -> None:
    """Run a bridge until ``bell.stop()``. Raises as ``run``."""
    root = _root(settings)
    did, key = node_key(settings)
    connection = connect(settings.kubeconfig, settings.environ)
    cluster = KubernetesClient(connection)
    holder = Holder(settings.home)
    keeper = _keeper(settings, connection, holder)
    fence = Fence(keeper, settings.lease, Deadman())
    cluster.fence(fence)
    watches = Watches(cluster, bell.ring)
    # Two readers, each with its own trust store and connection: applying never waits for reporting. But what
    # halts one halts both.
    rpc, report_rpc = (open_panel(settings.endpoints, settings.home) for _ in range(2))
    reader = _reader(settings, rpc, "trust.json", root)
    report_reader = _reader(settings, report_rpc, "report-trust.json", root)
    channel = Channel(settings.cluster, report_rpc, report_reader, did, key)
    reporter = Reporter(channel, may_tell=lambda: fence.term() is not None)
    state = StateFile(settings.home, system_clock_ns)
    store = InventoryStore(cluster, reader.chain_id, settings.namespace)
    in_scope = cluster.in_scope if settings.impersonate else None
    reconciler = Reconciler(cluster, store, watches, system_clock_ns, in_scope, fence)
    workers = reconciler.workers = Pool()
    source = LedgerSource(reader, settings.cluster)
    loop = Loop(source, reconciler, reporter, bell, settings.periods, Clocks(system_clock_ns, boot_clock()))
    event(
        _LOG, "bridge started", cluster=settings.cluster, chain=reader.chain_id, reporter=did, key=key.key_id
    )  # fmt: skip
    probes = Probes(system_clock_ns)
    if settings.metrics_port is not None:
        event(_LOG, "metrics served", port=probes.start(settings.metrics_port))
    doorbell = _doorbell(settings, bell)
    reporter.start()
    keeper.start()
    try:
        while not bell.stopping:
            loop.step()
            about = {"cluster": settings.cluster, "chain": reader.chain_id, "writer": keeper.account()}
            account = about | loop.account()
            probes.tell(account)
            state.write(account)
    finally:
        probes.stop()
        doorbell.stop()
        watches.stop()
        keeper.stop()
        reporter.stop()
        workers.close()
        cluster.close()
        holder.close()
        rpc.close()
        report_rpc.close()
        event(_LOG, "bridge stopped", cluster=settings.cluster)


def node_key(settings: BridgeSettings) -> tuple[str, Signer]:
    """Open the bridge's key; gives the DID it reports as, and the key.

    Raises:
        Refused: KEY_FILE_INVALID; KEY_NOT_OF_SIGNER where a did:key is another key's.
        EnvironmentFault: KEY_FILE_INVALID.
    """
    given = settings.environ.get("CONCLAVE_PASSPHRASE")
    key = open_signer(settings.key_uri, given.encode() if given else None)
    if settings.did is None:
        return key.did, key
    if settings.did.startswith(DID_KEY_PREFIX) and settings.did != f"{DID_KEY_PREFIX}{key.key_id}":
        raise Refused(
            Code.KEY_NOT_OF_SIGNER,
            got=f"{settings.key_uri} holds {DID_KEY_PREFIX}{key.key_id}",
            expected=f"the key of {settings.did}",
            todo="put the right key file back",
            file=settings.key_uri,
        )
    return settings.did, key


def _doorbell(settings: BridgeSettings, bell: Bell) -> Doorbell:
    found = Doorbell(settings.endpoints, bell.block)
    bell.listening = found.listening
    found.start()
    return found


def _keeper(settings: BridgeSettings, connection: Connection, holder: Holder) -> LeaseKeeper:
    clock_s = boot_clock()
    dead = None if holder.predecessor is None else Predecessor(holder.predecessor, clock_s())
    if not holder.alone:
        event(_LOG, "home in use", level=logging.WARNING, home=str(settings.home))
    leases = LeaseObject(connection, settings.namespace, system_clock_ns)
    return LeaseKeeper(leases, Belief(holder.name, settings.lease, predecessor=dead), clock_s)


def _root(settings: BridgeSettings) -> TrustRoot:
    if settings.root is not None:
        return settings.root
    known = TrustStore(settings.home / "trust.json").load()
    if known is None:
        raise EnvironmentFault(
            Code.HOME_INVALID,
            got="no trust.json",
            expected="a root of trust",
            todo="begin the bridge's home with the ledger's genesis or a trusted header",
            file=str(settings.home / "trust.json"),
        )
    return known.root


def _reader(settings: BridgeSettings, rpc: Panel, file_name: str, root: TrustRoot) -> VerifiedReader:
    store = TrustStore(settings.home / file_name)
    store.ensure(root)
    reading = ReaderSettings(staleness_ns=int(settings.periods.staleness_s * NS_PER_S))
    return VerifiedReader(rpc, store, clock=system_clock_ns, settings=reading)


def _stopper(bell: Bell) -> Callable[[int, FrameType | None], None]:
    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        bell.stop()

    return stop
