"""Any bytes where the command line expects a file of its own end in a coded error and the right exit code.

Each file is damaged as hypothesis likes: noise, other JSON, one field replaced, bytes flipped, torn, deep.
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conclave import __main__ as program
from conclave import processes
from conclave.first_look import read_status
from k8s_bridge import run as bridge_run
from ledger.errors import Code

EXIT_CODES = frozenset({1, 2, 3, 4})
EXIT_ENVIRONMENT = 4
EXIT_INTERRUPTED = 130
IMAGE = "example.internal/app:v1"
KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "clusters": [
        {"name": "c", "cluster": {"server": "https://127.0.0.1:1", "insecure-skip-tls-verify": True}}
    ],
    "users": [{"name": "u", "user": {"token": "t"}}],
}
DEPLOYMENT = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "a"},
    "spec": {"containers": [{"name": "a", "image": IMAGE}]},
}
scalars = st.none() | st.booleans() | st.integers(-5, 2**70) | st.floats() | st.text(max_size=12)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@dataclass(frozen=True)
class Surroundings:
    """A home whose endpoints are dead, and a source to propose from."""

    home: Path
    source: Path
    pins: Path
    kubeconfig: Path


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surroundings]:
    root = tmp_path_factory.mktemp("any-file")
    with socket.socket() as holder:
        # Nobody listens on a port that is held and not listened on.
        holder.bind(("127.0.0.1", 0))
        yield _surrounded(root, holder.getsockname()[1])


def _surrounded(root: Path, dead: int) -> Surroundings:
    home, source = root / "home", root / "source"
    with contextlib.redirect_stdout(io.StringIO()):
        assert program.run(["init", "--home", str(home), "--base-port", str(min(dead, 60_000))]) == 0
    named = json.loads((home / "ledger.json").read_bytes())
    named["endpoints"] = [f"http://127.0.0.1:{dead}"]
    (home / "ledger.json").write_text(json.dumps(named))
    source.mkdir()
    (source / "pod.yaml").write_text(yaml.safe_dump(DEPLOYMENT))
    (source / "release.yaml").write_text(
        yaml.safe_dump({"name": "app", "namespace": "app", "clusters": ["east"]})
    )
    (root / "pins.yaml").write_text(yaml.safe_dump({IMAGE: "sha256:" + "ab" * 32}))
    (root / "kubeconfig").write_text(yaml.safe_dump(KUBECONFIG))
    made = Surroundings(home, source, root / "pins.yaml", root / "kubeconfig")
    assert run(made, "status")[0] == EXIT_ENVIRONMENT  # no node answers, but trust has begun
    return made


def run(around: Surroundings, *arguments: str) -> tuple[int, str, str]:
    """Run a verb; give exit code, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = program.run(["--home", str(around.home), *arguments])
    return code, out.getvalue(), err.getvalue()


def ends_well(code: int, out: str, err: str) -> None:
    """Check that a run ended in success or in an error of the table, told as JSON with what to do."""
    assert "Traceback" not in out + err
    if code in (0, EXIT_INTERRUPTED):
        return
    assert code in EXIT_CODES, out
    error = json.loads(out)["error"]
    assert Code[error["name"]] == error["code"]
    assert error["expected"] or error["todo"], error


def _replaced(value: Any, data: st.DataObject) -> Any:
    """Put any tree in place of one part of ``value``."""
    inside: list[Any] = []
    if isinstance(value, dict | list):
        inside = list(value) if isinstance(value, dict) else list(range(len(value)))
    if not inside or data.draw(st.integers(0, 4)) == 0:
        return data.draw(trees)
    key = data.draw(st.sampled_from(inside))
    return _with(value, key, _replaced(value[key], data))


def _with(value: Any, key: Any, new: Any) -> Any:
    changed = value.copy()
    changed[key] = new
    return changed


def damaged(content: bytes, data: st.DataObject) -> bytes:
    """Give ``content`` damaged in one way."""
    way = data.draw(st.sampled_from(["noise", "tree", "field", "flip", "torn", "deep", "text"]))
    if way == "field":
        with contextlib.suppress(yaml.YAMLError, UnicodeDecodeError):
            return json.dumps(_replaced(yaml.safe_load(content.decode()), data)).encode()
    if way in _NEW:
        return data.draw(_NEW[way])
    at = data.draw(st.integers(0, len(content) - 1))
    torn = content[:at]
    if way == "flip":
        return torn + bytes([content[at] ^ data.draw(st.integers(1, 255))]) + content[at + 1 :]
    return torn


_NEW: dict[str, st.SearchStrategy[bytes]] = {
    "noise": st.binary(max_size=200),
    "tree": trees.map(lambda tree: json.dumps(tree).encode()),
    "deep": st.sampled_from([b"[", b'{"a":', b"- ", b"a: {"]).map(lambda opening: opening * 5000),
    "text": st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
}


@dataclass(frozen=True)
class Case:
    """A file, and the verbs that read it."""

    file: Callable[[Surroundings], Path]
    verbs: Callable[[Surroundings], tuple[tuple[str, ...], ...]]


def _propose(around: Surroundings) -> tuple[tuple[str, ...], ...]:
    return (("propose", str(around.source), "--pin", str(around.pins), "--as", "alice"),)


def _diff(around: Surroundings) -> tuple[tuple[str, ...], ...]:
    return (("diff", str(around.source), "--pin", str(around.pins)),)


def _bridge(around: Surroundings) -> tuple[tuple[str, ...], ...]:
    return (("bridge", "east", "--kubeconfig", str(around.kubeconfig)),)


def _verbs(*verbs: str) -> Callable[[Surroundings], tuple[tuple[str, ...], ...]]:
    return lambda _: tuple(tuple(verb.split()) for verb in verbs)


CASES: dict[str, Case] = {
    "ledger.json": Case(lambda a: a.home / "ledger.json", _verbs("status", "key list", "approve 1 --as bob")),
    "genesis.json": Case(lambda a: a.home / "genesis.json", _verbs("status")),
    "trust": Case(lambda a: a.home / "trust" / "client.json", _verbs("get clusters")),
    "key": Case(lambda a: a.home / "keys" / "alice.pem", _verbs("key show alice")),
    "release.yaml": Case(lambda a: a.source / "release.yaml", _propose),
    "manifest": Case(lambda a: a.source / "pod.yaml", _diff),
    "pins": Case(lambda a: a.pins, _propose),
    "kubeconfig": Case(lambda a: a.kubeconfig, _bridge),
}


@pytest.mark.requires("redteam.any-file")
@pytest.mark.parametrize("name", CASES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bytes_in_a_file_end_in_a_coded_error(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch, name: str, data: st.DataObject
) -> None:
    # A kubeconfig that is good after all would start the bridge: that is as far as this goes.
    monkeypatch.setattr(bridge_run, "KubernetesClient", _stop_here)
    case = CASES[name]
    file = case.file(around)
    honest = file.read_bytes()
    try:
        file.write_bytes(damaged(honest, data))
        for verb in case.verbs(around):
            ends_well(*run(around, *verb, "-o", "json"))
    finally:
        file.write_bytes(honest)


def _stop_here(connection: Any) -> None:
    connection.close()
    raise KeyboardInterrupt


@pytest.mark.requires("redteam.any-file")
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["missing", "a folder", "empty", "huge"])
def test_a_file_that_is_none(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    monkeypatch.setattr(bridge_run, "KubernetesClient", _stop_here)
    case = CASES[name]
    file = case.file(around)
    honest = file.read_bytes()
    file.unlink()
    try:
        if kind == "a folder":
            file.mkdir()
        elif kind == "empty":
            file.touch()
        elif kind == "huge":
            with file.open("wb") as sparse:
                sparse.truncate(2**36)
        for verb in case.verbs(around):
            code, out, err = run(around, *verb, "-o", "json")
            ends_well(code, out, err)
            assert code in EXIT_CODES
    finally:
        file.rmdir() if kind == "a folder" else file.unlink(missing_ok=True)
        file.write_bytes(honest)


@pytest.mark.requires("redteam.any-file")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200) | trees.map(lambda tree: json.dumps(tree).encode()))
def test_any_bytes_as_a_status_or_pid_file(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bridge-east.json"
    file.write_bytes(content)
    assert isinstance(read_status(file), dict)
    assert processes.running(tmp_path) == []
    assert processes.stop_all(tmp_path, lambda _: None) == []
    assert not file.exists()
