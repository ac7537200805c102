"""``python -m tests.vectors.consensus.record BINARY VERSION``: record a few heights of a real chain.

Owns the making of ``recorded/VERSION.json``: four validators of one CometBFT binary, the last of them with a
secp256k1 key, a fifth that joins by a transaction and never votes, another ed25519 one that is stopped. What
the nodes answered is written as it came. Needs loopback addresses 127.0.7.1 to .4 (Linux) and half a minute.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.chain import Signer, secp_signers, signers

FOLDER = Path(__file__).parent / "recorded"
HEIGHTS = 9
JOINS_AT, STOPS_AT = 3, 5
WAIT_SECONDS = 60
APPS = {"v0.34": "persistent_kvstore", "v0.37": "persistent_kvstore"}
"""Later ones change validators by ``kvstore`` itself, with the key's type in the transaction."""


def main(binary: Path, version: str) -> None:
    """Run the nodes and write what they answered."""
    with tempfile.TemporaryDirectory() as folder:
        homes = _homes(binary, Path(folder))
        old = version[: version.rindex(".")] in APPS
        nodes = [_start(binary, home, place, old=old) for place, home in enumerate(homes, 1)]
        try:
            blocks = _record(nodes, old=old)
        finally:
            for node in nodes:
                node.kill()
                node.wait()
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps({"version": version, "blocks": blocks}, indent=1)
    (FOLDER / f"{version}.json").write_text(text + "\n")


def _homes(binary: Path, folder: Path) -> list[Path]:
    made = [str(binary), "testnet", "--v", "4", "--o", str(folder), "--starting-ip-address", "127.0.7.1"]
    subprocess.run(made, check=True, capture_output=True, timeout=60)
    homes = [folder / f"node{place}" for place in range(4)]
    (signer,) = secp_signers("recorded")
    public = {"type": str(signer.validator.key_type), "value": _base64(signer.validator.public_key)}
    secret = {"type": "tendermint/PrivKeySecp256k1", "value": _base64(bytes(signer.key))}
    named = {"address": signer.address.hex().upper(), "pub_key": public}
    key_file = homes[3] / "config" / "priv_validator_key.json"
    replaced = json.loads(key_file.read_text())["address"]
    key_file.write_text(json.dumps(named | {"priv_key": secret}))
    for home in homes:
        genesis = json.loads((home / "config" / "genesis.json").read_text())
        for validator in genesis["validators"]:
            validator["power"] = "10"
            validator.update(named if validator["address"] == replaced else {})
        genesis["chain_id"] = "recorded"
        genesis["consensus_params"]["validator"]["pub_key_types"] = ["ed25519", "secp256k1"]
        (home / "config" / "genesis.json").write_text(json.dumps(genesis))
    return homes


def _start(binary: Path, home: Path, place: int, *, old: bool) -> subprocess.Popen[bytes]:
    address = f"tcp://127.0.7.{place}"
    flags = [f"--p2p.laddr={address}:26656", f"--rpc.laddr={address}:26657", "--rpc.pprof_laddr="]
    app = "persistent_kvstore" if old else "kvstore"
    return subprocess.Popen(
        [str(binary), "start", f"--home={home}", f"--proxy_app={app}", *flags],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _record(nodes: list[subprocess.Popen[bytes]], *, old: bool) -> list[Any]:
    _reached(JOINS_AT)
    (fifth,) = signers("fifth")
    form = f"val:{_of(fifth)}!1" if old else f"val=ed25519!{_of(fifth)}!1"
    sent = urllib.parse.urlencode({"tx": f'"{form}"'})
    _ask(f"broadcast_tx_sync?{sent}")
    _reached(STOPS_AT)
    nodes[2].kill()
    _reached(HEIGHTS + 2)
    return [
        {
            "commit": _ask(f"commit?height={height}"),
            "validators": _ask(f"validators?height={height}&per_page=100"),
            "next_validators": _ask(f"validators?height={height + 1}&per_page=100"),
        }
        for height in range(1, HEIGHTS + 1)
    ]


def _reached(height: int) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            if int(_ask("status")["sync_info"]["latest_block_height"]) >= height:
                return
        except OSError:
            pass
        time.sleep(0.3)
    raise TimeoutError(height)


def _ask(path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.7.1:26657/{path}", timeout=5) as answer:
        return json.loads(answer.read())["result"]


def _of(signer: Signer) -> str:
    return _base64(signer.validator.public_key)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
