"""``conclave bridge``: what a bridge is told when it is run."""

from __future__ import annotations

import pytest

from conclave.verbs import bridge
from k8s_bridge import lease, run
from k8s_bridge.lease import Timing
from k8s_bridge.settings import BridgeSettings
from tests.unit.conclave.desk import Desk


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[BridgeSettings]:
    """Collect settings instead of running a bridge."""
    found: list[BridgeSettings] = []
    monkeypatch.setattr(run, "run", found.append)
    monkeypatch.setattr(bridge, "trust_root", lambda _: None)
    monkeypatch.setattr("runtime.log.configure", lambda: None)
    return found


@pytest.mark.requires("cli.bridge-lease")
@pytest.mark.parametrize(
    ("arguments", "timing"),
    [
        ((), Timing()),
        (("--lease-seconds", "6"), Timing(6, 0.75)),
        (("--lease-seconds", "11"), Timing(11, 1.375)),
        (("--lease-seconds", "60"), Timing(60, 1.5)),
    ],
)
def test_a_bridge_has_the_lease_it_was_asked_to_have(
    desk: Desk, told: list[BridgeSettings], arguments: tuple[str, ...], timing: Timing
) -> None:
    desk.show("bridge", "east", *arguments)
    assert [settings.lease for settings in told] == [timing]


@pytest.mark.requires("cli.bridge-lease")
@pytest.mark.parametrize("seconds", ["5", "61", "-1", "soon", "6.5"])
def test_a_lease_beyond_the_limits_is_wrong_usage(
    desk: Desk, told: list[BridgeSettings], seconds: str
) -> None:
    assert desk.refused("bridge", "east", "--lease-seconds", seconds, status=2) == "USAGE"
    assert told == []


@pytest.mark.requires("cli.bridge-lease")
def test_help_tells_the_limits_that_hold() -> None:
    limits = (bridge.LEASE_S, bridge.LEASE_S_MIN, bridge.LEASE_S_MAX)
    assert limits == (lease.DURATION_S, lease.DURATION_S_MIN, lease.DURATION_S_MAX)
