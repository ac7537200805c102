"""A new node for a running ledger: its keys, its files, and state sync as the way it catches up.

Owns the writing of such a home and the reading of an existing one as a peer. Promises that a folder that is
there is never touched and that one made in vain is removed. The new node votes only once the ledger makes it
a validator.
"""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

from consensus.node.config import write_config
from consensus.node.genesis import NodeKey, load_key, write_node_files
from consensus.node.localnet import LOOPBACK
from consensus.node.spec import NodePaths, NodeSpec, Peer
from ledger.errors import Code, EnvironmentFault, Refused, unwritable
from ledger.limits import MIB

_CONFIG_BYTES_MAX = 1 * MIB
_NODE_ID_DIGITS = 40
_PORT_MAX = 2**16 - 1


def peer_of(home: Path) -> Peer:
    """Give the node in ``home`` as its neighbours on this host dial it.

    Raises:
        EnvironmentFault: HOME_INVALID, KEY_FILE_INVALID.
    """
    paths = NodePaths(home)
    try:
        with paths.config.open("rb") as file:
            address = tomllib.loads(file.read(_CONFIG_BYTES_MAX).decode())["p2p"]["laddr"]
        port = int(str(address).rpartition(":")[2])
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise EnvironmentFault(
            Code.HOME_INVALID, got=error, expected="[p2p] laddr = tcp://HOST:PORT", file=str(paths.config)
        ) from error
    return Peer(load_key(paths.node_key).node_id, LOOPBACK, port)


def read_peer(text: str) -> Peer:
    """Read ``ID@HOST:PORT``.

    Raises:
        Refused: FIELD_INVALID.
    """
    node_id, _, address = text.partition("@")
    host, _, port = address.rpartition(":")
    known_id = len(node_id) == _NODE_ID_DIGITS and set(node_id) <= set("0123456789abcdef")
    plain = host.replace(".", "").replace("-", "").replace(":", "").replace("[", "").replace("]", "")
    known_port = port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= _PORT_MAX
    if not (known_id and plain.isascii() and plain.isalnum() and known_port):
        raise Refused(
            Code.FIELD_INVALID,
            got=text,
            expected="ID@HOST:PORT, the id as `cometbft show-node-id` prints it",
            field="peer",
        )
    return Peer(node_id, host, int(port))


def write_joining(spec: NodeSpec, genesis: bytes) -> None:
    """Write the home of a new node with new keys.

    Raises:
        Refused: FIELD_INVALID for a state sync that cannot work.
        EnvironmentFault: HOME_EXISTS, HOME_INVALID, DISK_FULL.
    """
    try:
        spec.home.mkdir(mode=0o700, parents=True)
    except FileExistsError as error:
        raise EnvironmentFault(
            Code.HOME_EXISTS,
            got=spec.home,
            expected="a node that is not there yet",
            todo="choose another number, or remove the folder if nobody needs its keys",
            path=str(spec.home),
        ) from error
    except OSError as error:
        raise unwritable(error, path=str(spec.home)) from error
    try:
        write_node_files(spec.paths, genesis, NodeKey.generate(), NodeKey.generate())
        write_config(spec)
    except BaseException:
        shutil.rmtree(spec.home, ignore_errors=True)
        raise
