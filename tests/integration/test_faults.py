"""Surroundings that fail under a running ledger: each has a code and says what to do, and nothing is lost.

One ledger of one validator, one API server and one bridge serve the module; every test leaves them up.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conclave import processes
from conclave.demo.narrator import Narrator
from conclave.demo.stage import CLUSTER, WAIT_S, Stage
from conclave.demo.story import clean_up
from conclave.home import load
from consensus.node.supervise import DISK_FREE_BYTES_MIN
from k8s_bridge.connection import connect as connect_kubernetes
from ledger.errors import Code, ConclaveError
from runtime import process
from tests.integration.fault_ledger import Ledger, config_map, in_process, told
from tests.integration.nodes import free_base

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

HOUR_NS = 3600 * 10**9
ENVIRONMENT, VERIFICATION = 4, 3
MANY = 150
TRIES = 6


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("KUBECONFIG", raising=False)
        home = tmp_path_factory.mktemp("faults") / "ledger"
        stage = Stage(home, Narrator(io.StringIO()), "default", None)
        try:
            stage.quietly("init", "--validators", "1", "--base-port", str(free_base(2)))
            stage.quietly("up")
            stage.cluster = connect_kubernetes(str(home / "clusters" / CLUSTER / "kubeconfig"), {})
            yield Ledger(stage)
        finally:
            clean_up(stage)


@pytest.fixture
def fresh(tmp_path: Path) -> Stage:
    """A ledger that was never started."""
    stage = Stage(tmp_path / "ledger", Narrator(io.StringIO()), "default", None)
    stage.quietly("init", "--validators", "1", "--base-port", str(free_base(2)))
    return stage


# -- before anything runs ---------------------------------------------------------------------------


@pytest.mark.requires("faults.missing-tool")
def test_a_missing_tool(fresh: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCLAVE_COMETBFT", "/nowhere/cometbft")
    told(fresh.quietly("up", "--no-bridges", status=ENVIRONMENT), Code.TOOL_MISSING)
    assert processes.running(fresh.home / "run") == []


@pytest.mark.requires("faults.port-taken")
@pytest.mark.parametrize("offset", [0, 1], ids=["p2p", "rpc"])
def test_a_port_that_is_taken(fresh: Stage, offset: int) -> None:
    rpc = int(load(fresh.home).endpoints[0].rsplit(":", 1)[1])
    with socket.create_server(("127.0.0.1", rpc - 1 + offset)):
        error = told(fresh.quietly("up", "--no-bridges", status=ENVIRONMENT), Code.PORT_TAKEN)
    assert error["facts"]["port"] == rpc - 1 + offset
    assert processes.running(fresh.home / "run") == []


@pytest.mark.requires("faults.port-taken")
def test_another_ledger_on_the_port_is_not_taken_for_ours(ledger: Ledger, tmp_path: Path) -> None:
    taken = int(load(ledger.home).endpoints[0].rsplit(":", 1)[1]) - 1
    other = Stage(tmp_path / "other", Narrator(io.StringIO()), "default", None)
    other.quietly("init", "--validators", "1", "--base-port", str(taken))
    told(other.quietly("up", "--no-bridges", status=ENVIRONMENT), Code.PORT_TAKEN)
    error = told(other.quietly("status", status=VERIFICATION), Code.HEADER_CHAIN_MISMATCH)
    assert error["got"] == load(ledger.home).chain_id


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.requires("faults.disk-full")
def test_a_disk_that_is_full(small_disk: Path) -> None:
    assert DISK_FREE_BYTES_MIN > 4 * 1024 * 1024
    stage = Stage(small_disk / "ledger", Narrator(io.StringIO()), "default", None)
    stage.quietly("init", "--validators", "1", "--base-port", str(free_base(2)))
    told(stage.quietly("up", "--no-bridges", status=ENVIRONMENT), Code.DISK_FULL)
    assert processes.running(stage.home / "run") == []
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb") as file:
        while True:
            file.write(bytes(65536))
    told(
        Stage(small_disk / "l2", stage.narrator, "default", None).quietly("init", status=ENVIRONMENT),
        Code.DISK_FULL,
    )
    assert not (small_disk / "l2").exists()
    told(stage.quietly("key", "new", "dave", "--organisation", "C", status=ENVIRONMENT), Code.DISK_FULL)
    assert {subject.name for subject in load(stage.home).subjects} >= {"alice", "bob", "carol"}
    assert not (stage.home / "keys" / "dave.pem").exists()


# -- the ledger -------------------------------------------------------------------------------------


@pytest.mark.requires("faults.twice")
def test_up_and_down_twice_are_harmless(ledger: Ledger, fresh: Stage) -> None:
    before = {name: process.read_pid_file(ledger.run / f"{name}.json") for name in ledger.up()}
    assert set(before) == {f"bridge-{CLUSTER}", f"cluster-{CLUSTER}", "node-0"}
    assert {name: process.read_pid_file(ledger.run / f"{name}.json") for name in ledger.up()} == before
    for _ in range(2):
        assert fresh.quietly("down")["stopped"] == []


@pytest.mark.requires("faults.validators-down")
def test_all_validators_down(ledger: Ledger) -> None:
    before = ledger.height()
    assert processes.stop(ledger.run, "node-0")
    try:
        for arguments in (("status",), ("approve", "1", "--as", "bob")):
            error = told(ledger.stage.quietly(*arguments, status=ENVIRONMENT), Code.RPC_UNREACHABLE)
            assert error["facts"]["endpoint"] == load(ledger.home).endpoints[0]
    finally:
        ledger.up()
    assert ledger.height() >= before


@pytest.mark.requires("faults.clock")
def test_a_clock_an_hour_ahead(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    trust = ledger.home / "trust" / "client.json"
    revision = ledger.put("clock-ahead", config_map("clock-ahead", "1"))
    with monkeypatch.context() as patch:
        patch.setattr("conclave.client.time", SimpleNamespace(time_ns=lambda: time.time_ns() + HOUR_NS))
        status, answer = in_process(ledger.home, "rollback", "clock-ahead", "--to", "1", "--as", "alice")
        assert (status, told(answer, Code.STALE)["name"]) == (VERIFICATION, "STALE")
        status, answer = in_process(ledger.home, "verify", "release", "clock-ahead")
        assert (status, answer["error"]["name"]) == (VERIFICATION, "STALE")
        status, answer = in_process(ledger.home, "status")
        assert (status, answer["readAt"]["isStale"]) == (0, True)
    assert trust.exists()
    assert in_process(ledger.home, "verify", "release", "clock-ahead")[0] == 0
    assert ledger.stage.quietly("history", "clock-ahead")["items"][0]["revision"] == revision


@pytest.mark.requires("faults.clock")
def test_a_clock_an_hour_behind(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("conclave.client.time", SimpleNamespace(time_ns=lambda: time.time_ns() - HOUR_NS))
        for arguments in (("status",), ("reject", "1", "--as", "alice"), ("get", "proposals")):
            status, answer = in_process(ledger.home, *arguments)
            told(answer, Code.HEADER_FROM_FUTURE)
            assert status == VERIFICATION
    assert in_process(ledger.home, "status")[0] == 0


@pytest.mark.requires("faults.application-killed")
def test_an_application_that_is_killed(ledger: Ledger) -> None:
    node = ledger.home / "nodes" / "node0"
    before = {name: process.read_pid_file(node / f"{name}.pid") for name in ("app", "cometbft")}
    assert before["app"] is not None
    os.kill(before["app"].pid, signal.SIGKILL)

    def restarted() -> bool:
        now = {name: process.read_pid_file(node / f"{name}.pid") for name in before}
        return None not in now.values() and all(now[name] != before[name] for name in before)

    ledger.stage.until("both processes restarted", restarted)
    ledger.stage.until("blocks again", lambda: _answers(ledger))
    ledger.put("after-kill", config_map("after-kill", "1"))


def _answers(ledger: Ledger) -> bool:
    try:
        with ledger.stage.client() as client:
            return client.view().height > 0
    except ConclaveError:
        return False


@pytest.mark.requires("faults.everything-killed")
def test_everything_killed_at_once(ledger: Ledger) -> None:
    revision = ledger.put("survivor", config_map("survivor", "alive"))
    ledger.wait_applied("survivor", revision)
    before = ledger.height()
    named = [process.read_pid_file(file) for file in ledger.run.glob("*.json")]
    victims = [found.pid for found in named if found is not None]
    victims += [child for pid in victims for child in _children(pid)]
    assert len(victims) >= 5
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    # Who dies holds its ports until it has died.
    ledger.stage.until("all gone", lambda: not any(process.start_time(pid) for pid in victims))
    assert "node-0" in ledger.up()
    assert ledger.height() >= before
    assert ledger.text("survivor") == "alive"
    revision = ledger.put("survivor", config_map("survivor", "and well"))
    ledger.wait_applied("survivor", revision)
    assert ledger.text("survivor") == "and well"


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        # Threads end meanwhile.
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found + [grandchild for child in found for grandchild in _children(child)]


# -- the bridge -------------------------------------------------------------------------------------


@pytest.mark.requires("faults.no-api-server")
def test_an_api_server_that_goes_and_comes_back(ledger: Ledger) -> None:
    revision = ledger.put("outage", config_map("outage", "one"))
    ledger.wait_applied("outage", revision)
    bridge = process.read_pid_file(ledger.run / f"bridge-{CLUSTER}.json")
    assert processes.stop(ledger.run, f"cluster-{CLUSTER}")
    try:
        revision = ledger.put("outage", config_map("outage", "two"))

        def says_so() -> bool:
            fault = ledger.release("outage").get("fault") or {}
            return bool(fault.get("name") == "KUBERNETES_UNREACHABLE" and fault["todo"])

        ledger.stage.until("KUBERNETES_UNREACHABLE", says_so)
        account = ledger.stage.bridge_status()
        assert account["hold"] is None
        assert account["releases"]["outage"]["revision"] == revision - 1
        ledger.stage.until(
            "said of the cluster too", lambda: _cluster_code(ledger) == Code.KUBERNETES_UNREACHABLE
        )
    finally:
        ledger.up()
    assert process.read_pid_file(ledger.run / f"bridge-{CLUSTER}.json") == bridge
    ledger.wait_applied("outage", revision)
    assert ledger.text("outage") == "two"
    ledger.stage.until("reached again", lambda: _cluster_code(ledger) == Code.OK)


@pytest.mark.requires("bridge.faults")
def test_an_etcd_that_hangs_tears_nothing_down(ledger: Ledger) -> None:
    revision = ledger.put("hanging", config_map("hanging", "one"))
    ledger.wait_applied("hanging", revision)
    bridge = process.read_pid_file(ledger.run / f"bridge-{CLUSTER}.json")
    cluster = process.read_pid_file(ledger.run / f"cluster-{CLUSTER}.json")
    assert cluster is not None
    arguments = {
        pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in _children(cluster.pid)
    }
    etcd = [pid for pid, words in arguments.items() if b"etcd" in words]
    assert etcd, arguments
    os.kill(etcd[0], signal.SIGSTOP)
    try:
        revision = ledger.put("hanging", config_map("hanging", "two"))
        ledger.stage.until("said", lambda: _said(ledger, "hanging"), 200)
        account = ledger.release("hanging")
        assert (account["revision"], account["outcome"]) == (revision - 1, "applied")
    finally:
        os.kill(etcd[0], signal.SIGCONT)
    ledger.wait_applied("hanging", revision)
    assert ledger.text("hanging") == "two"
    assert process.read_pid_file(ledger.run / f"bridge-{CLUSTER}.json") == bridge
    ledger.stage.until("reached again", lambda: _cluster_code(ledger) == Code.OK)


def _said(ledger: Ledger, name: str) -> bool:
    return ledger.release(name).get("fault") is not None or _cluster_code(ledger) != Code.OK


def _cluster_code(ledger: Ledger) -> int:
    return int(ledger.stage.bridge_status()["kubernetes"]["code"])


_KUBECONFIGS: dict[str, tuple[Callable[[str], str], Code]] = {
    "plain text": (lambda _: "hello\n", Code.KUBECONFIG_INVALID),
    "a dead address": (
        lambda text: _line(text, "server:", "https://127.0.0.1:1"),
        Code.KUBERNETES_UNREACHABLE,
    ),
    "a wrong token": (lambda text: _line(text, "token:", "wrong"), Code.KUBERNETES_REFUSED),
}


def _line(text: str, key: str, value: str) -> str:
    lines = text.splitlines()
    assert any(key in line for line in lines)
    return "\n".join(line[: line.index(key)] + f"{key} {value}" if key in line else line for line in lines)


@pytest.mark.requires("faults.kubeconfig")
@pytest.mark.parametrize("name", _KUBECONFIGS)
def test_a_wrong_kubeconfig(ledger: Ledger, tmp_path: Path, name: str) -> None:
    change, code = _KUBECONFIGS[name]
    wrong = tmp_path / "kubeconfig"
    wrong.write_text(change(ledger.kubeconfig.read_text()))
    processes.stop(ledger.run, f"bridge-{CLUSTER}")
    try:
        told(ledger.stage.quietly("up", "--kubeconfig", str(wrong), status=ENVIRONMENT), code)
        assert not processes.is_running(ledger.run, f"bridge-{CLUSTER}")
        assert processes.is_running(ledger.run, "node-0")
    finally:
        ledger.up()


_WRONG_CLOCK = """
import time
true_ns = time.time_ns
time.time_ns = lambda: true_ns() + OFFSET
from conclave.__main__ import main
main()
"""


@pytest.mark.requires("faults.bridge-clock")
@pytest.mark.parametrize(("hours", "code"), [(1, Code.STALE), (-1, Code.HEADER_FROM_FUTURE)])
def test_a_bridge_whose_clock_is_wrong_holds(ledger: Ledger, hours: int, code: Code) -> None:
    name = "held-ahead" if hours > 0 else "held-behind"
    processes.stop(ledger.run, f"bridge-{CLUSTER}")
    revision = ledger.put(name, config_map(name, "true"))
    arguments = ["--home", str(ledger.home), "bridge", CLUSTER, "--kubeconfig", str(ledger.kubeconfig)]
    script = _WRONG_CLOCK.replace("OFFSET", str(hours * HOUR_NS))
    status = ledger.home / "bridges" / CLUSTER / "bridge-status.json"
    status.unlink()
    bridge = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        ledger.stage.until(
            "a hold", lambda: (ledger.stage.bridge_status().get("hold") or {}).get("code") == code
        )
        assert ledger.stage.bridge_status()["hold"]["todo"]
        assert ledger.text(name) is None
    finally:
        bridge.terminate()
        bridge.wait(90)
        ledger.up()
    ledger.wait_applied(name, revision)
    assert ledger.text(name) == "true"


@pytest.mark.requires("bridge.probes")
def test_a_running_bridge_is_probed_and_scraped(ledger: Ledger) -> None:
    revision = ledger.put("probed", config_map("probed", "one"))
    ledger.wait_applied("probed", revision)
    processes.stop(ledger.run, f"bridge-{CLUSTER}")
    port = free_base(1)
    arguments = ["--home", str(ledger.home), "bridge", CLUSTER, "--kubeconfig", str(ledger.kubeconfig)]
    bridge = subprocess.Popen(
        [sys.executable, "-m", "conclave", *arguments, "--metrics-port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        ledger.stage.until("ready", lambda: _probe(port, "/readyz")[0] == 200)
        ledger.stage.until("well", lambda: _probe(port, "/healthz")[0] == 200)
        wanted = f'conclave_bridge_release_applied_revision{{release="probed"}} {revision}'
        ledger.stage.until("scraped", lambda: wanted in _probe(port, "/metrics")[1].splitlines())
        ledger.stage.until("writing", lambda: "conclave_bridge_writer 1" in _probe(port, "/metrics")[1])
    finally:
        bridge.terminate()
        bridge.wait(90)
        ledger.up()
    assert bridge.returncode == 0


def _probe(port: int, path: str) -> tuple[int, str]:
    """Ask a bridge's port; 0 where nothing listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


@pytest.mark.requires("faults.bridge-killed")
def test_a_bridge_killed_in_the_middle_of_an_apply(ledger: Ledger) -> None:
    found: list[int] = []
    for number in range(TRIES):
        name = f"many-{number}"
        revision, count = _killed_at_the_first_object(ledger, name)
        found.append(count)
        ledger.up()
        ledger.wait_applied(name, revision)
        assert _count(ledger, name) == MANY
        ledger.wait_applied(name, ledger.put(name, config_map(f"{name}-000", "x")))
        assert _count(ledger, name) == 1
        if 0 < count < MANY:
            return
    # Who kills may come too late now and then, where others hold the processor.
    pytest.fail(f"killed with {found} of {MANY} objects in place: never in the middle")


def _killed_at_the_first_object(ledger: Ledger, name: str) -> tuple[int, int]:
    """Kill the bridge as soon as it has applied anything; give the revision, and how much was in place."""
    bridge = process.read_pid_file(ledger.run / f"bridge-{CLUSTER}.json")
    assert bridge is not None
    seen: list[int] = []
    stop = threading.Event()

    def kill_at_the_first_object() -> None:
        while not stop.is_set():
            if _count(ledger, name):
                os.kill(bridge.pid, signal.SIGKILL)
                seen.append(_count(ledger, name))
                return

    killer = threading.Thread(target=kill_at_the_first_object)
    killer.start()
    try:
        revision = ledger.put(name, *(config_map(f"{name}-{i:03}", "x") for i in range(MANY)))
        killer.join(WAIT_S)
    finally:
        stop.set()
        killer.join()
    assert seen, "the bridge applied nothing"
    return revision, seen[0]


def _count(ledger: Ledger, name: str) -> int:
    assert ledger.stage.cluster is not None
    found: Any = ledger.stage.cluster.ask("get", "/api/v1/namespaces/default/configmaps")[1]["items"]
    return sum(item["metadata"]["name"].startswith(f"{name}-") for item in found)
