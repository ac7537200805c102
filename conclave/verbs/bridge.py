"""``conclave bridge``: one cluster's bridge in the foreground.

Promises that the bridge's root of trust is this home's genesis and what it
reports as the node subject of the cluster.
"""

from __future__ import annotations

import logging
import os

import click

from conclave.client import trust_root
from conclave.command import Session, verb
from conclave.errors import to_json
from conclave.home import load
from ledger.errors import ConclaveError


@verb(
    "bridge",
    "conclave bridge east",
    "conclave bridge east --kubeconfig ~/.kube/config",
    "conclave bridge east --endpoint http://127.0.0.1:26657",
)
@click.argument("cluster")
@click.option("--kubeconfig", metavar="FILE", help="The cluster's [KUBECONFIG, else the pod's own account].")
@click.option("--endpoint", "endpoints", multiple=True, metavar="URL", help="Node to ask [the home's].")
def command(session: Session, cluster: str, kubeconfig: str | None, endpoints: tuple[str, ...]) -> None:
    """Run the bridge of CLUSTER in the foreground until SIGTERM or Ctrl-C.

    It verifies everything it applies itself: the endpoints need not be trusted.
    """
    from k8s_bridge.run import run
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
    )
    try:
        run(settings)
    except ConclaveError as error:
        log.event(logging.getLogger("bridge"), "gave up", level=logging.ERROR, **to_json(error))
        raise
