"""``conclave trust``: what this machine's verification begins from, and why.

Owns the way back when a root of trust has expired: a person names a recent header, or brings a bundle that
people they know have signed. Promises to verify that header before anything that was believed is given up,
and to keep the reason.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import click

from conclave import home as homes
from conclave.client import Client, connect, freshness, open_key
from conclave.command import Session, verb
from conclave.files import read_file
from conclave.home import Home, NamedRoot
from consensus import trust_bundle
from consensus.headers import ReaderSettings, VerifiedHeaders
from consensus.incident import FILE_NAME, IncidentFile
from consensus.light.timestamp import format_time
from consensus.light.types import Trusted
from consensus.rpc import RpcClient
from consensus.trust_bundle import BUNDLE_BYTES_MAX, TrustBundle
from consensus.trust_store import MemoryStore, TrustRoot, TrustStore
from ledger import shape
from ledger.errors import Code, ConclaveError, Refused, VerificationFailed, unwritable
from ledger.types import JsonObject


@verb(
    "trust",
    "conclave trust",
    "conclave trust 4711 $HASH --reason 'off for a month; bob read it out'",
    "conclave trust --sign root.json --as alice",
    "conclave trust --bundle root.json --signer $ALICE --signer $BOB --need 2",
    "conclave trust --log",
)
@click.argument("height", type=click.IntRange(min=1), required=False)
@click.argument("digest", metavar="[HASH]", required=False)
@click.option("--reason", default="", metavar="TEXT", help="Why verification begins anew; kept in the log.")
@click.option(
    "--sign", "to_sign", type=click.Path(path_type=Path), metavar="FILE", help="Vouch for a header."
)
@click.option("--bundle", type=click.Path(path_type=Path), metavar="FILE", help="Begin anew from it.")
@click.option("--signer", "signers", multiple=True, metavar="KEY", help="A key that may vouch for a bundle.")
@click.option("--need", type=click.IntRange(min=1), metavar="N", help="How many of them must [all].")
@click.option("--log", "show_log", is_flag=True, help="Show what was believed, and why.")
def command(session: Session, height: int | None, digest: str | None, **flags: Any) -> None:
    """Show the newest verified header, or begin anew from another.

    Verification builds on what was verified before, for two weeks at most. After a longer pause, ask somebody
    who runs this command on a machine you trust, over a channel you trust, and name what they read to you as
    HEIGHT and HASH; or take a file in which people whose keys you know vouch for a header (--sign makes one,
    each signs it in turn).
    """
    bundle, to_sign, signers = flags["bundle"], flags["to_sign"], flags["signers"]
    chosen = [height is not None, to_sign is not None, bundle is not None, flags["show_log"]]
    is_whole = (digest is None) is (height is None) and bool(signers) is (bundle is not None)
    if sum(chosen) > 1 or not is_whole:
        raise Refused(
            Code.USAGE,
            got="a height alone, or a mixture",
            expected="HEIGHT and HASH, or --sign, or --bundle with --signer, or --log",
            todo="see --help",
        )
    if height is not None and digest is not None:
        home = homes.load(session.home)
        named = bytes.fromhex(shape.digest(digest.lower(), "HASH"))
        _begin(session, home, TrustRoot.at(home.chain_id, height, named), flags["reason"])
    elif bundle is not None:
        home = homes.load(session.home)
        read = trust_bundle.decode(read_file(bundle, BUNDLE_BYTES_MAX))
        needed = flags["need"] or len(set(signers))
        _begin(session, home, trust_bundle.root_of(read, home.chain_id, signers, needed), flags["reason"])
    elif to_sign is not None:
        _sign(session, to_sign)
    elif flags["show_log"]:
        _show_log(session)
    else:
        _show(session)


def _show(session: Session) -> None:
    with connect(session) as client:
        view = client.view()
        header = client.reader.header(view.height + 1)
    named = {"height": header.height, "hash": header.hash.hex()}
    if session.output.document(named | {"readAt": freshness(view)}):
        return
    session.output.line(f"conclave trust {header.height} {header.hash.hex()}", "bold")
    session.output.line(f"the newest header of {view.chain_id} that this machine verified")


def _begin(session: Session, home: Home, root: TrustRoot, reason: str) -> None:
    store = MemoryStore(root)
    header = _named_header(home, store, root.height)
    named = NamedRoot(header.height, header.hash.hex())
    homes.save(dataclasses.replace(home, root=named))
    home.client_trust.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in {home.client_trust, *home.trust_files()}:
        kept = TrustStore(path)
        kept.reset(root, reason, time.time_ns())
        kept.save(store.load())
        # Last, so that whatever breaks off on the way leaves the machine halted.
        IncidentFile(path.with_name(FILE_NAME)).resolve()
    if session.output.document({"height": named.height, "hash": named.hash, "by": root.by}):
        return
    session.output.line(f"verification begins from height {named.height} of {home.chain_id}", "bold")
    session.output.line("start bridges that run here again: conclave down, then conclave up")


def _named_header(home: Home, store: MemoryStore, height: int) -> Trusted:
    """Give the header a person named, from whichever node has it: after an incident the first may not."""
    failure: ConclaveError | None = None
    for endpoint in home.endpoints:
        rpc = RpcClient(endpoint)
        try:
            return VerifiedHeaders(rpc, store, clock=time.time_ns, options=ReaderSettings().options).at(
                height
            )
        except ConclaveError as error:
            failure = failure or error
        finally:
            rpc.close()
    raise failure or Refused(Code.USAGE, got="no endpoint", expected="at least one RPC endpoint")


def _sign(session: Session, file: Path) -> None:
    with connect(session) as client:
        speaker = client.home.speaker(session.as_name)
        bundle, header = _bundle(client, file)
        bundle = trust_bundle.signed(bundle, open_key(client.home, speaker))
    staged = file.with_name(f"{file.name}.new")
    try:
        staged.write_bytes(trust_bundle.encode(bundle))
        staged.replace(file)
    except OSError as error:
        raise unwritable(error, "a place to write the file to", file=str(file)) from None
    document: JsonObject = {
        "file": str(file),
        "height": bundle.height,
        "hash": bundle.hash.hex(),
        "signers": sorted(bundle.signatures),
    }
    if session.output.document(document):
        return
    session.output.line(f"{file}: header {header.height} of {format_time(header.header.time_ns)}", "bold")
    session.output.line(f"signed by {', '.join(sorted(bundle.signatures))}")


def _bundle(client: Client, file: Path) -> tuple[TrustBundle, Trusted]:
    """Give the bundle of ``file``, or a new one of the newest header; its header is verified here again."""
    if not file.exists():
        header = client.reader.header(client.view().height + 1)
        return TrustBundle(client.home.chain_id, header.height, header.hash, {}), header
    bundle = trust_bundle.decode(read_file(file, BUNDLE_BYTES_MAX))
    if bundle.chain_id != client.home.chain_id:
        raise VerificationFailed(
            Code.HEADER_CHAIN_MISMATCH, got=f"a bundle of {bundle.chain_id}", expected=client.home.chain_id
        )
    header = client.reader.header(bundle.height)
    if header.hash != bundle.hash:
        raise VerificationFailed(
            Code.TRUST_ROOT_MISMATCH,
            got=bundle.hash,
            expected=f"{header.hash.hex()}, as this machine verified it",
            todo="do not sign it; find out who made the file",
            height=bundle.height,
        )
    return bundle, header


def _show_log(session: Session) -> None:
    home = homes.load(session.home)
    entries = TrustStore(home.client_trust).history()
    if session.output.document({"file": str(home.client_trust), "entries": list(entries)}):
        return
    session.output.table(["what", "height", "on the ground of", "when", "why"], [_row(e) for e in entries])


def _row(entry: JsonObject) -> list[object]:
    kind = entry["kind"]
    if kind == "header":
        ground = entry["ground"]
        on = "the root" if ground is None else f"{ground['height']}"
        return ["verified", entry["header"]["height"], on, format_time(entry["verifiedAt"]), None]
    if kind == "compacted":
        return [f"{entry['dropped']} earlier records, no longer kept", None, None, None, None]
    root, at = entry["root"], entry.get("at")
    when = None if at is None else format_time(at)
    return [kind, root["height"], root["by"], when, entry.get("reason")]
