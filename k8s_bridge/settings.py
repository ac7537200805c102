"""What a bridge is told when it starts.

Owns the settings record; promises that every period has its unit in its name and a reason for its default.
Reads nothing from the environment: the command line does that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from consensus.trust_store import TrustRoot
from k8s_bridge.lease import Timing
from k8s_bridge.store import DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class Periods:
    """How often and how long, in seconds.

    Attributes:
        poll_s: between two looks for a new block: one cheap question, and the first delay of every release.
        listen_s: the same while a node tells of new blocks by itself.
        resync_s: between two full looks at a release, whatever its watches say (kubernetes notes, trap 8).
        staleness_s: a header older than this means that the ledger is not followed any more: hold.
        health_s: least time between two looks at one object's status; a rollout writes many.
        reach_s: between two looks whether the API server answers: one small list.
        retry_s_max: ceiling of the backoff after a release that did not apply.
    """

    poll_s: float = 0.1
    listen_s: float = 10.0
    resync_s: float = 600.0
    staleness_s: float = 60.0
    health_s: float = 0.25
    reach_s: float = 10.0
    retry_s_max: float = 60.0


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """One bridge.

    Attributes:
        cluster: the cluster it serves, as the ledger names it.
        endpoints: RPC endpoints of nodes, untrusted.
        home: its folder: ``trust.json``, ``report-trust.json``, ``bridge-status.json``,
            ``bridge.lock``.
        key_uri: the node identity's key, read when the bridge starts: a rotated one is used from then on.
        root: what is believed at first; None where ``trust.json`` was begun already.
        kubeconfig: None for ``KUBECONFIG`` or the pod's own account.
        environ: the environment to find these in, and ``CONCLAVE_PASSPHRASE`` of an encrypted key.
        namespace: where the inventories and the lease are kept.
        periods: how often.
        lease: how long the right to write lasts, and how often it is renewed.
        impersonate: write each release as the account of its scope; else as the bridge itself.
        did: the node identity it reports as; None for the did:key of its key.
        metrics_port: loopback port of probes and metrics; None for none.
    """

    cluster: str
    endpoints: tuple[str, ...]
    home: Path
    key_uri: str
    root: TrustRoot | None = None
    kubeconfig: str | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    namespace: str = DEFAULT_NAMESPACE
    periods: Periods = field(default_factory=Periods)
    did: str | None = None
    impersonate: bool = False
    metrics_port: int | None = None
    lease: Timing = field(default_factory=Timing)
