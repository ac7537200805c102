"""The house rules that a machine can judge, over every tracked file."""

from __future__ import annotations

import ast
import functools
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ledger.errors import Code

ROOT = Path(__file__).resolve().parents[1]
GENERATED = "ledger/pb/"
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
PARAMETERS_MAX = 6
NAMES_FORBIDDEN = {"job", "thing", "manager", "helper", "util", "data"}
NAMES_FORBIDDEN |= {f"{name}s" for name in NAMES_FORBIDDEN}
LOCKS = ("requirements.lock", "go.sum", "go.mod")
# Put together here, so that this file does not hold what it looks for.
MACHINE_PATHS = re.compile(r"(?<![\w.$}])/(" + "work|root" + ")/")
REGISTRIES = re.compile(
    "|".join(
        re.escape(".".join(h))
        for h in (("pypi", "org"), ("proxy", "golang", "org"), ("registry", "npmjs", "org"))
    )
)
MARKERS = re.compile(r"\b(" + "TO" + "DO|FIX" + "ME|XX" + "X|HA" + r"CK)\b")
CODES = re.compile(r"^\| (\d+) \| ([A-Z_]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def tracked() -> list[Path]:
    """Give every file git knows of, or would, that is there; outside a checkout, nothing can be judged."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("no git checkout here")
    listed = subprocess.run([git, "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / line for line in listed.splitlines() if (ROOT / line).is_file()]


def own_python() -> list[Path]:
    """Give our own Python files: not generated."""
    return [p for p in tracked() if p.suffix == ".py" and not name_of(p).startswith(GENERATED)]


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """Give a Python file, parsed."""
    return ast.parse(path.read_text())


def functions_in(body: Sequence[ast.AST]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Give every function of these statements, at any depth: one is never inside an expression."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, part, None)
            if isinstance(inner, list):
                yield from functions_in(inner)


def name_of(path: Path) -> str:
    """Give a file's name as people say it."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.requires("house.sizes")
def test_no_own_file_is_long() -> None:
    own = [
        p
        for p in tracked()
        if p.suffix in (".py", ".go", ".proto", ".sh") and not name_of(p).startswith(GENERATED)
    ]
    long = {name_of(p): n for p in own if (n := len(p.read_text().splitlines())) > FILE_LINES_MAX}
    assert long == {}, f"split what is over {FILE_LINES_MAX} lines"


@pytest.mark.requires("house.sizes")
def test_no_function_is_long_or_takes_much() -> None:
    found = []
    for path in own_python():
        for node in functions_in(tree_of(path).body):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            parameters = len(node.args.posonlyargs) + len(node.args.args) + len(node.args.kwonlyargs)
            parameters -= any(a.arg in ("self", "cls") for a in node.args.args[:1])
            in_tests = name_of(path).startswith("tests/")
            if lines > FUNCTION_LINES_MAX or (parameters > PARAMETERS_MAX and not in_tests):
                found.append(
                    f"{name_of(path)}:{node.lineno} {node.name}: {lines} lines, {parameters} parameters"
                )
    assert found == [], f"at most {FUNCTION_LINES_MAX} lines and {PARAMETERS_MAX} parameters"


@pytest.mark.requires("house.docstrings")
def test_every_module_says_what_it_is() -> None:
    silent = [
        name_of(p) for p in own_python() if (tree := tree_of(p)).body and ast.get_docstring(tree) is None
    ]
    assert silent == [], "begin the module with what it owns, promises and never does"


@pytest.mark.requires("house.names")
def test_no_module_has_a_name_that_says_nothing() -> None:
    named = [name_of(p) for p in tracked() if NAMES_FORBIDDEN & set(re.split(r"[_.\-]", p.stem.lower()))]
    folders = [name_of(p) for p in tracked() if NAMES_FORBIDDEN & set(p.relative_to(ROOT).parts[:-1])]
    assert named + folders == [], f"none of {', '.join(sorted(NAMES_FORBIDDEN))}"


@pytest.mark.requires("house.clean")
def test_no_machine_path_registry_host_or_bare_marker_is_left() -> None:
    found = []
    for path in tracked():
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:
            continue
        rules = [("machine path", MACHINE_PATHS), ("registry host", REGISTRIES)]
        if path.suffix in (".py", ".go", ".proto", ".sh") and not name_of(path).startswith(GENERATED):
            rules.append(("bare marker", MARKERS))
        for number, line in enumerate(lines, 1):
            found += [
                f"{name_of(path)}:{number} {rule}: {line.strip()[:80]}" for rule, p in rules if p.search(line)
            ]
    assert found == [], "\n".join(found)


@pytest.mark.requires("house.kinds")
def test_every_test_has_one_kind_and_a_target_runs_it() -> None:
    files = [name_of(p).split("/") for p in tracked() if p.name.startswith("test_") and p.suffix == ".py"]
    made = re.findall(r"^\t@\$\(PYTEST\) .*$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    run = [place.removeprefix("tests/") for line in made for place in re.findall(r"tests/[\w./]+", line)]
    kinds = {parts[1] for parts in files if parts[0] == "tests"} - {"integration"}
    assert sorted(run) == sorted(kinds), "a target of the Makefile runs each folder of tests once"
    assert {parts[0] for parts in files} == {"tests"}
    everything = re.search(r"^test: (.*) ##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = re.findall(r"^(\w+):.*\n\t@\$\(PYTEST\) ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert everything is not None
    assert set(targets) <= set(everything[1].split())


@pytest.mark.requires("house.kinds")
def test_unit_tests_neither_sleep_nor_search() -> None:
    found = []
    for path in own_python():
        if not name_of(path).startswith("tests/unit/") or not re.search("hypothesis|sleep", path.read_text()):
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hypothesis"):
                found.append(f"{name_of(path)}:{node.lineno} is a property test")
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "asyncio.sleep"):
                waits = not (isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)
                found += [f"{name_of(path)}:{node.lineno} sleeps"] if waits else []
    assert found == [], "\n".join(found)


@pytest.mark.requires("ledger.codes-table")
def test_codes_md_is_the_table_of_codes() -> None:
    rows = CODES.findall((ROOT / "docs" / "spec" / "codes.md").read_text())
    written = [(int(number), name) for number, name, *_ in rows]
    assert written == sorted((int(code), code.name) for code in Code), (
        "docs/spec/codes.md and ledger/errors.py differ: write the row, in order of number"
    )
    assert all(cell.strip() for row in rows for cell in row)


@pytest.mark.requires("ledger.codes-table")
def test_reserved_codes_and_only_they_are_raised_by_nobody() -> None:
    rows = CODES.findall((ROOT / "docs" / "spec" / "codes.md").read_text())
    reserved = {name for _, name, by, *_ in rows if by.strip() == "reserved"}
    product = [p for p in own_python() if not name_of(p).startswith(("tests/", "bench/"))]
    used = {name for p in product for name in re.findall(r"\bCode\.([A-Z_]+)\b", p.read_text())}
    assert used & reserved == set(), "no longer reserved: say in docs/spec/codes.md who raises it"
    assert {code.name for code in Code} - used - reserved == set(), "raised by nobody: say `reserved`"


@pytest.mark.requires("house.generated")
def test_generated_protocol_code_is_what_proto_gives(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools is in the dev extra")
    sources = sorted((ROOT / "proto").rglob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}"]
    command += [f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", *map(str, sources)]
    subprocess.run(command, check=True, timeout=60)
    made = {p.name: p.read_bytes() for p in (tmp_path / "ledger" / "pb").iterdir()}
    kept = {p.name: p.read_bytes() for p in (ROOT / "ledger" / "pb").iterdir() if p.is_file()}
    kept.pop("__init__.py")
    assert sorted(made) == sorted(kept)
    differ = [name for name in made if made[name] != kept[name]]
    assert differ == [], "regenerate ledger/pb from proto/ and commit it"
