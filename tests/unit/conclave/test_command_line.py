"""The command line: help, examples, exit codes, errors for people and for programs."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

import conclave.verbs.key as key_verb
from conclave import __main__ as program
from conclave.command import Session, Verb
from conclave.errors import exit_code
from ledger.errors import Code, EnvironmentFault, Refused, VerificationFailed


def commands() -> list[tuple[str, click.Command]]:
    """List every verb and every verb of a group, with its path."""
    group = program.cli
    context = click.Context(group)
    found: list[tuple[str, click.Command]] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(f"{name} {sub}", command.commands[sub]) for sub in command.commands]
    return found


def run(*arguments: str) -> int:
    return program.run(list(arguments))


@pytest.mark.requires("cli.help")
@pytest.mark.parametrize("path", [path for path, _ in commands()])
def test_every_verb_helps_with_examples(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*path.split(), "--help") == 0
    text = capsys.readouterr().out
    assert f"conclave {path}" in text.partition("Examples")[2]


@pytest.mark.requires("cli.help")
def test_every_example_parses() -> None:
    count = 0
    for path, command in commands():
        if not isinstance(command, Verb):
            continue
        assert 1 <= len(command.examples) <= 5, path
        for example in command.examples:
            words = shlex.split(example)
            start = words.index("conclave") + 1 + len(path.split())
            end = words.index(">") if ">" in words else len(words)
            command.make_context(path, words[start:end], obj=Session.from_environment()).close()
            count += 1
    assert count > 30


@pytest.mark.requires("cli.help")
def test_help_is_quick_because_no_verb_is_imported() -> None:
    code = (
        "import sys; from conclave.__main__ import run; run(['--help']);"
        "heavy = {'consensus', 'kubernetes', 'rich', 'yaml', 'cryptography', 'nacl'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


@pytest.mark.requires("cli.exit-codes")
def test_exit_codes_follow_the_kind_of_error() -> None:
    assert exit_code(Refused(Code.IMAGE_NOT_PINNED)) == 1
    assert exit_code(Refused(Code.USAGE)) == 2
    assert exit_code(VerificationFailed(Code.PROOF_INVALID)) == 3
    assert exit_code(EnvironmentFault(Code.RPC_UNREACHABLE)) == 4
    assert exit_code(VerificationFailed(Code.PROPOSAL_UNDER_APPROVED)) == 1


@pytest.mark.requires("cli.exit-codes")
@pytest.mark.parametrize(
    "arguments",
    [
        ["bogus"],
        ["status", "--bogus"],
        ["approve"],
        ["get", "bogus"],
        ["tools", "bogus"],
        ["-o", "xml", "status"],
    ],
)
def test_wrong_usage_is_code_2(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--home", str(tmp_path), *arguments) == 2
    captured = capsys.readouterr()
    assert "USAGE" in captured.err
    assert captured.out == ""


@pytest.mark.requires("cli.errors")
@pytest.mark.parametrize("place", ["before", "after"])
def test_an_error_is_json_on_standard_output_when_asked(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ["--home", str(tmp_path / "nowhere")]
    arguments = ["-o", "json", *home, "status"] if place == "before" else ["status", *home, "-ojson"]
    assert run(*arguments) == 4
    captured = capsys.readouterr()
    error = json.loads(captured.out)["error"]
    assert (error["name"], error["code"]) == ("HOME_INVALID", int(Code.HOME_INVALID))
    assert error["expected"]
    assert error["todo"]
    assert captured.err == ""


@pytest.mark.requires("cli.errors")
def test_a_usage_error_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status", "--bogus", "-o", "json") == 2
    assert json.loads(capsys.readouterr().out)["error"]["name"] == "USAGE"


@pytest.mark.requires("cli.errors")
def test_an_error_for_people_says_what_where_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("status", "--home", str(tmp_path / "nowhere")) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "HOME_INVALID" in captured.err
    assert str(tmp_path / "nowhere" / "ledger.json") in captured.err
    assert "conclave init" in captured.err


@pytest.mark.requires("cli.errors")
@pytest.mark.parametrize("fmt", ["table", "json"])
def test_a_fault_of_ours_shows_no_traceback(
    fmt: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_down(path: Path) -> None:
        raise RuntimeError(f"broken \x1b[31m{path}")

    monkeypatch.setattr(key_verb, "load", break_down)
    monkeypatch.delenv("CONCLAVE_DEBUG", raising=False)
    assert run("key", "list", "-o", fmt) == 70
    captured = capsys.readouterr()
    text = captured.out + captured.err
    assert "INTERNAL" in text
    assert "Traceback" not in text
    assert "\x1b" not in text
    monkeypatch.setenv("CONCLAVE_DEBUG", "1")
    assert run("key", "list", "-o", fmt) == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.requires("cli.errors")
def test_a_long_listing_of_offenders_is_shown_to_its_bound(capsys: pytest.CaptureFixture[str]) -> None:
    from conclave.errors import LISTED_MAX, tell
    from conclave.output import Output

    images = [{"object": f"v1/Pod/a/{n}", "path": "spec", "image": f"i{n}"} for n in range(LISTED_MAX + 7)]
    assert tell(Refused(Code.IMAGE_NOT_PINNED, images=images), Output("table")) == 1
    text = capsys.readouterr().err
    assert f"v1/Pod/a/{LISTED_MAX - 1}  spec  i{LISTED_MAX - 1}" in text
    assert "… and 7 more" in text
    tell(Refused(Code.IMAGE_NOT_PINNED, images=images), Output("json"))
    assert len(json.loads(capsys.readouterr().out)["error"]["facts"]["images"]) == LISTED_MAX + 7


@pytest.mark.requires("cli.help")
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_program(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("completion", shell) == 0
    assert "_CONCLAVE_COMPLETE" in capsys.readouterr().out


@pytest.mark.requires("cli.errors")
@pytest.mark.parametrize(
    ("arguments", "got", "todo"),
    [
        (["stauts"], "status", "conclave --help"),
        (["verify"], "release|proposal", "conclave verify --help"),
        (["key", "new"], "NAME", "conclave key new --help"),
    ],
)
def test_wrong_usage_names_what_was_meant_and_where_to_look(
    arguments: list[str], got: str, todo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments, "-o", "json") == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert got in error["got"]
    assert "\n" not in error["got"]
    assert error["todo"].endswith(todo)
