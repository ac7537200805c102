"""``conclave bridge manifests``: what an administrator installs for a cluster's bridge.

Promises one text for one state of the ledger, worked out of what is proven on it. Installs nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conclave.client import connect
from conclave.command import Session, verb
from conclave.home import Home
from conclave.output import to_yaml
from ledger.errors import Code, Refused, unwritable

if TYPE_CHECKING:
    from k8s_bridge.grants import Needs
    from k8s_bridge.kinds import Resource

_FORMS = ("api", "static", "none")
_STATIC_FILES = ("admission.yaml", "policies/conclave.yaml")


@verb(
    "manifests",
    "conclave bridge manifests > bridge.yaml",
    "conclave bridge manifests --cluster east --admission static --into /etc/kubernetes/conclave",
    "conclave bridge manifests --admission none --impersonation plain",
    "conclave bridge manifests --resource Widget.shop.example=widgets --user system:serviceaccount:a:b",
)
@click.option("--cluster", metavar="NAME", help="Whose [the home's only one].")
@click.option(
    "--admission",
    type=click.Choice(_FORMS),
    default=_FORMS[0],
    show_default=True,
    help="Policies in the API, in files beside the API server, or none.",
)
@click.option("--into", type=click.Path(path_type=Path), metavar="DIR", help="Where static policies go.")
@click.option(
    "--impersonation",
    type=click.Choice(("constrained", "plain")),
    default="constrained",
    show_default=True,
    help="Plain before Kubernetes 1.36.",
)
@click.option("--bridge-user", metavar="USER", help="Who the bridge is, if not its service account.")
@click.option("--user", "users", multiple=True, metavar="USER", help="Another controller that may write.")
@click.option(
    "--resource", "resources", multiple=True, metavar="KIND=PLURAL", help="A kind no release defines."
)
def command(session: Session, cluster: str | None, into: Path | None, **options: Any) -> None:
    """Print the accounts, permissions and admission policies that a cluster's bridge needs.

    They follow what is on the ledger: print and apply them again when a kind comes onto it.
    """
    from conclave.holdings import holdings_of
    from k8s_bridge import admission, rbac
    from k8s_bridge.grants import Impersonation, needs_of

    form = options["admission"]
    if (form == "static") != (into is not None):
        raise Refused(
            Code.USAGE,
            got=f"--admission {form} {'with' if into else 'without'} --into",
            expected="--into DIR with --admission static, and with nothing else",
            todo="see: conclave bridge manifests --help",
        )
    told = _resources(options["resources"])
    with connect(session) as client:
        held, older = holdings_of(client.view(), cluster or _only(client.home))
    impersonation = Impersonation(options["impersonation"])
    needs = needs_of(held, {**older, **told}, impersonation)
    found = rbac.access(needs, options["bridge_user"], impersonation)
    users = tuple(sorted(set(options["users"])))
    trust = admission.Trust(options["bridge_user"] or admission.Trust().bridge, users)
    if form == "api":
        found += admission.policies(needs, admission.Form.API, trust)
    if into is not None:
        _write_static(into, needs, trust)
        session.output.note(f"wrote {', '.join(str(into / name) for name in _STATIC_FILES)}")
    if session.output.format == "json":
        session.output.document({"apiVersion": "v1", "kind": "List", "items": found})
    else:
        click.echo("---\n".join(to_yaml(item) for item in found), nl=False)


def _write_static(folder: Path, needs: Needs, trust: Any) -> None:
    """Write the API server's files, each whole or not at all.

    Raises:
        EnvironmentFault: HOME_INVALID, DISK_FULL.
    """
    from k8s_bridge import admission

    policies = admission.policies(needs, admission.Form.STATIC, trust)
    configuration = admission.admission_configuration(str((folder / "policies").absolute()))
    try:
        (folder / "policies").mkdir(parents=True, exist_ok=True)
        for name, items in zip(_STATIC_FILES, ([configuration], policies), strict=True):
            # The API server reads the folder while it runs, and no file of this ending.
            staged = folder / f"{name}.new"
            staged.write_text("---\n".join(to_yaml(item) for item in items))
            staged.replace(folder / name)
    except OSError as error:
        raise unwritable(error, file=str(folder)) from error


def _only(home: Home) -> str:
    if len(home.clusters) == 1:
        return home.clusters[0]
    raise Refused(
        Code.USAGE,
        got="no --cluster",
        expected=f"one of {', '.join(home.clusters)}",
        todo="name it: --cluster NAME",
    )


def _resources(texts: tuple[str, ...]) -> dict[str, Resource]:
    from k8s_bridge.kinds import Resource

    found = {}
    for text in texts:
        kind, _, plural = text.partition("=")
        plural, _, scope = plural.partition(":")
        if not kind or not plural or scope not in {"", "Cluster", "Namespaced"}:
            raise Refused(
                Code.USAGE,
                got=f"--resource {text}",
                expected="Kind.group=plural, with :Cluster for a kind without namespaces",
                todo="see: kubectl api-resources",
            )
        found[kind] = Resource(kind.partition(".")[2], plural, scope != "Cluster")
    return found
