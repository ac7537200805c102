"""``conclave wait``: until a proposal or a release is where somebody wants it.

Promises to end as soon as it is there, as soon as it cannot come any more, or when the time is over: each
with its exit code. Judges through ``conclave.waiting``.
"""

from __future__ import annotations

import time
from dataclasses import replace

import click

from conclave import watching
from conclave.client import Client, connect, freshness
from conclave.command import Session, verb
from conclave.completion import release_or_proposal_names
from conclave.durations import Duration
from conclave.verbs.judge import which
from conclave.waiting import OF_PROPOSALS, OF_RELEASES, Standing, Wish, look
from conclave.watching import tell_trouble
from consensus import release_reader
from consensus.reader import View
from consensus.subscription import Height, subscribe
from ledger.errors import Code, EnvironmentFault, Refused

TIMEOUT_S_MAX = 7 * 86_400.0
clock_s = time.monotonic


@verb(
    "wait",
    "conclave wait 7 --for=final --timeout 10m",
    "conclave wait guestbook --for=healthy --timeout 60s",
    "conclave wait proposal/7 --for=healthy",
    "conclave wait guestbook --for=applied --cluster east --timeout 0 -o json",
    "conclave wait guestbook --for=gone",
)
@click.argument("target", metavar="RELEASE|PROPOSAL", shell_complete=release_or_proposal_names)
@click.option(
    "--for",
    "condition",
    type=click.Choice([*OF_PROPOSALS, *OF_RELEASES]),
    help="What to wait for [healthy for a release, final for a proposal].",
)
@click.option("--cluster", "clusters", multiple=True, metavar="NAME", help="Only this cluster counts [all].")
@click.option(
    "--timeout",
    type=Duration(TIMEOUT_S_MAX),
    default="60s",
    show_default=True,
    metavar="TIME",
    help="How long, such as 90s, 5m, 2h; 0 looks once.",
)
def command(
    session: Session, target: str, condition: str | None, clusters: tuple[str, ...], timeout: float
) -> None:
    """Wait until a release or a proposal is where it is wanted.

    RELEASE is a name, PROPOSAL a number or id; release/NAME and proposal/NUMBER say which is meant.

    \b
    For a proposal:  approved   it has its approvals, whether or not a delay or a freeze still holds it
                     final      the ledger carried it out
                     closed     it is decided, one way or the other
    For a release, or the revision that a proposal makes:
                     applied    in place on every cluster, by each bridge's signed report
                     healthy    applied, and everything of it is current
                     complete   its rollout is over and went well
                     gone       deleted, and every cluster's bridge has reported that

    For a release it is the newest revision at the moment the waiting begins.

    \b
    Exit codes: 0  it is there
                1  it can come no more: rejected, expired, failed, overtaken by another revision,
                   withdrawn or deleted; or there is no such release or proposal
                2  wrong usage
                3  something did not verify
                4  the time is over (TIMEOUT), or the surroundings failed
    """  # noqa: D301
    began = clock_s()
    with connect(session) as client:
        view = client.view()
        wish = _wish(view, target, condition, clusters)
        found, at = _await(session, client, view, wish, began + timeout)
    waited = round(clock_s() - began, 3)
    document = {
        "for": wish.condition,
        "reached": True,
        **found.facts,
        "seconds": waited,
        "readAt": freshness(at),
    }
    if not session.output.document(document):
        session.output.line(f"{found.said}, at height {at.height}, after {waited:.1f} s", "bold")


def _await(
    session: Session, client: Client, view: View, wish: Wish, deadline_s: float
) -> tuple[Standing, View]:
    """Look at every height until the wish is reached.

    Raises:
        EnvironmentFault: TIMEOUT.
        ConclaveError: as ``look``.
    """

    def over(seconds: float) -> bool:
        left = deadline_s - clock_s()
        return left <= 0 or watching.PACE.wait(min(seconds, left))

    found = look(client, view, wish)
    if found.reached:
        return found, view
    session.output.note(f"waiting: {found.said}")
    for signal in subscribe(client.reader, view.height, replace(watching.PACE, wait=over)):
        if not isinstance(signal, Height):
            tell_trouble(signal)
            continue
        said = found.said
        try:
            found = look(client, signal.view, wish)
        except EnvironmentFault:
            # The next height answers as well.
            continue
        if found.reached:
            return found, signal.view
        if found.said != said:
            session.output.note(f"waiting: {found.said}")
    raise EnvironmentFault(
        Code.TIMEOUT,
        got=found.said,
        expected=f"{wish.condition} in time",
        todo="wait longer with --timeout TIME, or see: conclave status",
        **{"for": wish.condition, "reached": False, **found.facts},
    )


def _wish(view: View, target: str, condition: str | None, clusters: tuple[str, ...]) -> Wish:
    kind, slash, name = target.partition("/")
    if slash and kind not in {"release", "proposal"}:
        raise Refused(
            Code.USAGE, got=target[:80], expected="release/NAME, proposal/NUMBER, or one of these alone"
        )
    is_number = not slash and (target.isdecimal() or (len(target) == 64 and target.isalnum()))
    if (kind == "proposal" and slash) or is_number:
        if condition in {None, *OF_PROPOSALS} and clusters:
            raise Refused(Code.USAGE, got="--cluster", expected=f"with --for={'|'.join(OF_RELEASES)} only")
        return Wish(condition or "final", proposal=which(name if slash else target), clusters=clusters)
    if condition in OF_PROPOSALS:
        raise Refused(
            Code.USAGE, got=f"--for={condition} of a release", expected=f"--for={'|'.join(OF_RELEASES)}"
        )
    named = name if slash else target
    newest = release_reader.release_record(view, named).value.revision
    return Wish(condition or "healthy", release=named, revision=newest, clusters=clusters)
