"""``conclave trust``: what this machine's verification begins from.

Owns the way back when a root of trust has expired: a person names a recent header. Promises to verify that
header before anything that was believed is forgotten.
"""

from __future__ import annotations

import dataclasses
import time

import click

from conclave import home as homes
from conclave.client import connect, freshness
from conclave.command import Session, verb
from conclave.home import NamedRoot
from consensus.headers import ReaderSettings, VerifiedHeaders
from consensus.rpc import RpcClient
from consensus.trust_store import TrustRoot, TrustStore
from ledger import shape
from ledger.errors import Code, Refused


@verb(
    "trust",
    "conclave trust",
    "conclave trust 4711 6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b",
)
@click.argument("height", type=click.IntRange(min=1), required=False)
@click.argument("digest", metavar="[HASH]", required=False)
def command(session: Session, height: int | None, digest: str | None) -> None:
    """Show the newest verified header, or begin anew from the header of HEIGHT with HASH.

    Verification builds on what was verified before, for two weeks at most. After a longer pause, ask somebody
    who runs this command on a machine you trust, over a channel you trust, and name what they read to you.
    """
    if height is None:
        _show(session)
    elif digest is None:
        raise Refused(Code.USAGE, got="a height alone", expected="HEIGHT and HASH", todo="see --help")
    else:
        _begin(session, NamedRoot(height, shape.digest(digest.lower(), "HASH")))


def _show(session: Session) -> None:
    with connect(session) as client:
        view = client.view()
        header = client.reader.header(view.height + 1)
    named = {"height": header.height, "hash": header.hash.hex()}
    if session.output.document(named | {"readAt": freshness(view)}):
        return
    session.output.line(f"conclave trust {header.height} {header.hash.hex()}", "bold")
    session.output.line(f"the newest header of {view.chain_id} that this machine verified")


def _begin(session: Session, named: NamedRoot) -> None:
    home = homes.load(session.home)
    staged = home.client_trust.with_name("client.new.json")
    staged.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    staged.unlink(missing_ok=True)
    store = TrustStore(staged)
    store.ensure(TrustRoot.at(home.chain_id, named.height, bytes.fromhex(named.hash)))
    rpc = RpcClient(home.endpoints)
    try:
        headers = VerifiedHeaders(rpc, store, clock=time.time_ns, options=ReaderSettings().options)
        headers.at(named.height)
        homes.save(dataclasses.replace(home, root=named))
        for path in home.trust_files():
            path.unlink()
        staged.replace(home.client_trust)
    finally:
        rpc.close()
        staged.unlink(missing_ok=True)
    if session.output.document({"height": named.height, "hash": named.hash}):
        return
    session.output.line(f"verification begins from height {named.height} of {home.chain_id}", "bold")
    session.output.line("start bridges that run here again: conclave down, then conclave up")
