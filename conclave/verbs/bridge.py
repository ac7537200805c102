"""``conclave bridge``: one cluster's bridge in the foreground, and what is installed for it.

Promises that the bridge's root of trust is this home's genesis and what it reports as the node subject of the
cluster. ``conclave bridge CLUSTER`` is short for ``conclave bridge run CLUSTER``.
"""

from __future__ import annotations

import logging
import os
from typing import Any

import click

from conclave.client import trust_root
from conclave.command import CONTEXT, Session, VerbGroup, verb
from conclave.errors import to_json
from conclave.home import load
from conclave.verbs import bridge_manifests
from ledger.errors import ConclaveError

LEASE_S, LEASE_S_MIN, LEASE_S_MAX = 12, 6, 60
"""Those of ``k8s_bridge.lease``, which help must not import."""


class _BridgeGroup(VerbGroup):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take what names no verb of the group for a cluster whose bridge is to run."""
        if args and args[0] not in self.commands and args[0] not in CONTEXT["help_option_names"]:
            args = [run.name or "", *args]
        return super().parse_args(ctx, args)


_EXAMPLES = (
    "conclave bridge east",
    "conclave bridge east --kubeconfig ~/.kube/config --impersonate",
    "conclave bridge manifests > bridge.yaml",
)


@click.group("bridge", cls=_BridgeGroup, examples=_EXAMPLES, context_settings=CONTEXT)
def command() -> None:
    """Run a cluster's bridge in the foreground, or print what is installed for it.

    A bridge is run by its cluster's name alone, too: conclave bridge east.
    """


@verb(
    "run",
    "conclave bridge run east",
    "conclave bridge run east --kubeconfig ~/.kube/config --impersonate",
    "conclave bridge run east --endpoint http://127.0.0.1:26657",
    "conclave bridge run east --lease-seconds 30",
)
@click.argument("cluster")
@click.option("--kubeconfig", metavar="FILE", help="The cluster's [KUBECONFIG, else the pod's own account].")
@click.option("--endpoint", "endpoints", multiple=True, metavar="URL", help="Node to ask [the home's].")
@click.option(
    "--impersonate/--no-impersonate",
    default=None,
    help="Write as the account of a release's scope [yes with the pod's own account, else no].",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Serve /healthz, /readyz and /metrics on 127.0.0.1 [off; 0 takes a free port].",
)
@click.option(
    "--lease-seconds",
    type=click.IntRange(LEASE_S_MIN, LEASE_S_MAX),
    default=LEASE_S,
    show_default=True,
    metavar="SECONDS",
    help="Another bridge writes when this one was silent for so long; longer where admission is slow.",
)
def run(
    session: Session,
    cluster: str,
    kubeconfig: str | None,
    endpoints: tuple[str, ...],
    *,
    impersonate: bool | None,
    **numbers: Any,
) -> None:
    """Run the bridge of CLUSTER in the foreground until SIGTERM or Ctrl-C.

    It verifies everything it applies itself: the endpoints need not be trusted.

    Of many bridges of one cluster one writes, by a lease. A write takes 7/24 of --lease-seconds at most
    (3.5 s of 12) and is tried again: longer admission needs a longer lease (docs/spec/bridge-lease.md).
    """
    from k8s_bridge import run as bridges
    from k8s_bridge.lease import timing_of
    from k8s_bridge.settings import BridgeSettings
    from runtime import log

    home = load(session.home)
    subject = home.bridge_subject(cluster)
    folder = home.bridge(cluster)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    log.configure()
    settings = BridgeSettings(
        cluster=cluster,
        endpoints=endpoints or home.endpoints,
        home=folder,
        key_uri=home.key_uri(subject),
        root=trust_root(home),
        kubeconfig=kubeconfig,
        environ=os.environ,
        did=subject.did,
        impersonate=not (kubeconfig or os.environ.get("KUBECONFIG")) if impersonate is None else impersonate,
        metrics_port=numbers["metrics_port"],
        lease=timing_of(numbers["lease_seconds"]),
    )
    try:
        bridges.run(settings)
    except ConclaveError as error:
        log.event(logging.getLogger("bridge"), "gave up", level=logging.ERROR, **to_json(error))
        raise


for _verb in (run, bridge_manifests.command):
    command.add_command(_verb)
