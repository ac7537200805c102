"""A stopped validator goes back one height together with CometBFT, and goes on as if nothing had been."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest

from bench import payloads
from consensus.node.launch import Launch, launch
from consensus.node.localnet import Localnet, write_localnet
from consensus.node.rollback import roll_back
from consensus.node.spec import NodeSpec
from consensus.node.supervise import stop_node
from ledger.errors import Code, EnvironmentFault, Refused
from state.store import Store
from tests.integration.nodes import FAST, Node, cometbft, free_base, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


def _run_to(spec: NodeSpec, height: int) -> tuple[int, str]:
    """Run the node until ``height``; give the height it stopped at and its newest app hash."""
    node = Node(spec, launch(Launch(spec.home, cometbft())))
    try:
        until("the height", lambda: node.height() >= height, node)
        with pytest.raises(EnvironmentFault) as fault:
            roll_back(spec.home, cometbft())
        assert fault.value.code is Code.STATE_LOCKED
    finally:
        stop_node(spec.home)
        node.supervisor.kill()
        node.supervisor.wait()
    with Store.open(spec.paths.application) as store:
        return store.committed.height, store.committed.app_hash.hex()


@pytest.mark.requires("node.rollback")
def test_a_node_goes_back_and_on_again(tmp_path: Path) -> None:
    timing = dataclasses.replace(FAST, heartbeat=200)
    localnet = Localnet(tmp_path, payloads.CHAIN_ID, 1, free_base(2), timing=timing)
    (planned,) = write_localnet(localnet, time.time_ns(), payloads.app_state())
    spec = planned.spec
    height, app_hash = _run_to(spec, 6)
    for back in (1, 2):
        done = roll_back(spec.home, cometbft())
        assert (done.height, done.app_hash.hex()) == (height - back, app_hash)
    again, app_hash_again = _run_to(spec, height + 4)
    assert again >= height + 4
    assert app_hash_again == app_hash


@pytest.mark.requires("node.rollback")
def test_a_node_at_its_first_height_is_refused(tmp_path: Path) -> None:
    localnet = Localnet(tmp_path, payloads.CHAIN_ID, 1, free_base(2), timing=FAST)
    (planned,) = write_localnet(localnet, time.time_ns(), payloads.app_state())
    with pytest.raises(EnvironmentFault) as fault:
        roll_back(planned.spec.home, cometbft())
    assert fault.value.code is Code.HOME_INVALID
    with Store.open(planned.spec.paths.application):
        pass
    with pytest.raises(Refused) as refusal:
        roll_back(planned.spec.home, cometbft())
    assert refusal.value.code is Code.ROLLBACK_IMPOSSIBLE
