"""A bridge's account as metrics, and when it counts as alive and ready."""

from __future__ import annotations

import json
import re

import pytest

from k8s_bridge import telemetry
from k8s_bridge.probes import Probes
from k8s_bridge.telemetry import Moment, exposition, is_alive, why_not_ready
from ledger.errors import Code
from ledger.types import JsonObject

OK: JsonObject = {"code": 0, "name": "OK"}
STALE: JsonObject = {"code": int(Code.STALE), "name": "STALE"}
DOWN: JsonObject = {"code": int(Code.KUBERNETES_UNREACHABLE), "name": "KUBERNETES_UNREACHABLE"}
CONTESTED: JsonObject = {"object": "v1/ConfigMap/shop/a", "code": int(Code.OBJECT_CONTESTED)}
WELL: JsonObject = {
    "height": 7, "headerTimeNs": 10**18, "verdict": OK, "hold": None, "kubernetes": OK,
    "writer": {"writing": True},
    "releases": {
        "shop": {"wantedRevision": 3, "revision": 2, "outcome": "partial", "undone": 5, "applySeconds": 0.25,
                 "refusal": STALE, "objects": [CONTESTED, {"object": "v1/ConfigMap/shop/b", "code": 601}]},
        'a"b\\c\nd': {"wantedRevision": 1, "undone": 0, "applySeconds": None},
    },
}  # fmt: skip
_LINE = re.compile(r'^([a-z_]+)(?:\{(\w+)="((?:[^"\\\n]|\\.)*)"\})? (-?[0-9.]+)$')


def _read(text: str) -> dict[tuple[str, str], float]:
    """Read an exposition the way a scraper does; fails on a line that is none."""
    found, announced = {}, set()
    for line in text.splitlines():
        if line.startswith("# "):
            announced.add(line.split(" ")[2])
            continue
        matched = _LINE.match(line)
        assert matched, line
        assert matched[1] in announced
        found[matched[1].removeprefix(telemetry.PREFIX), matched[3] or ""] = float(matched[4])
    return found


@pytest.mark.requires("bridge.probes")
def test_what_stands_in_the_account_stands_in_the_metrics() -> None:
    found = _read(exposition(Moment(WELL, 0.5, 2.5)))
    shop = {name: value for (name, label), value in found.items() if label == "shop"}
    assert shop == {
        "release_wanted_revision": 3, "release_applied_revision": 2, "release_drift_fixes_total": 5,
        "release_last_apply_seconds": 0.25, "release_in_place": 0, "release_contested_objects": 1,
        "release_refusal_code": int(Code.STALE),
    }  # fmt: skip
    assert found["verified_header_age_seconds", ""] == 2.5
    assert found["verified_height", ""] == 7
    assert (found["writer", ""], found["ready", ""], found["kubernetes_reached", ""]) == (1, 1, 1)
    assert ("held", "STALE") not in found
    assert found["release_refusal_code", 'a\\"b\\\\c\\nd'] == 0
    assert found["release_drift_fixes_total", 'a\\"b\\\\c\\nd'] == 0
    assert ("release_applied_revision", 'a\\"b\\\\c\\nd') not in found


@pytest.mark.requires("bridge.probes")
def test_a_standby_is_ready_and_says_that_it_does_not_write() -> None:
    moment = Moment({**WELL, "writer": {"writing": False}}, 0.5, 2.5)
    assert why_not_ready(moment) == []
    assert _read(exposition(moment))["writer", ""] == 0


@pytest.mark.requires("bridge.probes")
@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        ({}, []),
        ({"hold": STALE}, ["STALE"]),
        ({"kubernetes": DOWN}, ["KUBERNETES_UNREACHABLE"]),
        ({"hold": STALE, "kubernetes": DOWN}, ["STALE", "KUBERNETES_UNREACHABLE"]),
        ({"height": 0}, ["STARTING"]),
        ({"height": 0, "verdict": {"code": 704, "name": "RPC_UNREACHABLE"}}, ["RPC_UNREACHABLE"]),
        # What was verified is still applied, for as long as its header is fresh.
        ({"verdict": {"code": 704, "name": "RPC_UNREACHABLE"}}, []),
    ],
)
def test_ready_is_when_final_releases_reach_the_cluster(change: JsonObject, reasons: list[str]) -> None:
    assert why_not_ready(Moment({**WELL, **change}, 0.5, 2.5)) == reasons


@pytest.mark.requires("bridge.probes")
def test_alive_is_when_the_loop_turns_whatever_fails_around_it() -> None:
    assert is_alive(Moment({**WELL, "hold": STALE, "kubernetes": DOWN}, 1.0, 999.0))
    stuck = Moment(WELL, telemetry.LIVE_S, 1.0)
    assert not is_alive(stuck)
    assert why_not_ready(stuck) == ["LOOP_STUCK"]
    assert why_not_ready(Moment(None, 0.0, None)) == ["STARTING"]


@pytest.mark.requires("bridge.probes")
def test_the_answers_follow_the_account_and_the_clocks() -> None:
    now, wall = [0.0], [10**18 + 3 * 10**9]
    probes = Probes(lambda: wall[0], lambda: now[0])
    assert [probes.answer(path)[0] for path in ("/healthz", "/readyz", "/metrics")] == [200, 503, 200]
    probes.tell(WELL)
    assert [probes.answer(path)[0] for path in ("/healthz", "/readyz")] == [200, 200]
    assert _read(probes.answer("/metrics")[2])["verified_header_age_seconds", ""] == 3
    now[0] = telemetry.LIVE_S
    assert [probes.answer(path)[0] for path in ("/healthz", "/readyz")] == [503, 503]
    assert json.loads(probes.answer("/readyz")[2]) == {"ready": False, "reasons": ["LOOP_STUCK"]}
    assert probes.answer("/")[0] == 404
