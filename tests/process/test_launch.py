"""A refused start says why to the program that started it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from consensus.node.launch import Launch, launch
from consensus.node.localnet import Localnet, write_localnet
from ledger.errors import Code, EnvironmentFault


@pytest.mark.requires("node.launch")
def test_the_supervisors_refusal_arrives_with_code_and_facts(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        # The RPC port is looked at first: whatever else holds the p2p port below it, this one is refused.
        (node,) = write_localnet(Localnet(tmp_path, "c-1", 1, port - 1), 0, {})
        with pytest.raises(EnvironmentFault) as fault:
            launch(Launch(node.spec.home, Path("/bin/true"), ready_s=240))
    assert fault.value.code == Code.PORT_TAKEN
    assert fault.value.facts == {"port": port, "setting": "[rpc] laddr"}
    assert "ss -ltnp" in fault.value.todo


@pytest.mark.requires("node.launch")
def test_a_folder_that_is_no_home(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault) as fault:
        launch(Launch(tmp_path, Path("/bin/true")))
    assert fault.value.code == Code.HOME_INVALID
