"""Structured logs and backoff."""

from __future__ import annotations

import json
import logging

import pytest

from runtime.log import FIELD_CHARACTERS_MAX, JsonFormatter, configure, event
from runtime.retry import Backoff


@pytest.mark.requires("log.one-line")
def test_an_event_is_one_line_whatever_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    logger = logging.getLogger("part")
    event(
        logger,
        "seen",
        name="x\ny",
        height=3,
        raw=b"\xff",
        nested={"a": [1]},
        level_=None,
        long="z" * 10_000,
        ts="forged",
    )
    line = JsonFormatter().format(caplog.records[-1])
    assert "\n" not in line
    fields = json.loads(line)
    assert fields["event"] == "seen"
    assert fields["component"] == "part"
    assert fields["name"] == "x\ny"
    assert fields["height"] == 3
    assert fields["raw"] == "ff"
    assert fields["nested"] == {"a": [1]}
    assert fields["ts"] != "forged"
    assert len(fields["long"]) == FIELD_CHARACTERS_MAX + 1


@pytest.mark.requires("log.one-line")
def test_a_traceback_stays_on_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure()
        try:
            int("x")
        except ValueError:
            logging.getLogger("part").exception("failed")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "ValueError: invalid literal" in json.loads(lines[0])["traceback"]


@pytest.mark.requires("retry.bounded")
def test_backoff_doubles_up_to_its_ceiling() -> None:
    backoff = Backoff(0.5, 15.0)
    assert [backoff.delay_s(n) for n in (-1, 0, 1, 2, 3, 6, 7, 10**9)] == [0, 0, 0.5, 1, 2, 15, 15, 15]
