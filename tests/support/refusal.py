"""What a test says of a refusal: the code, and that people are told what was expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ledger.errors import Code, Refused


def refusal_of(call: Callable[[], Any], code: Code) -> Refused:
    """Run ``call``; it must refuse with ``code``. Gives the refusal for further questions."""
    with pytest.raises(Refused) as caught:
        call()
    assert caught.value.code is code, str(caught.value)
    assert caught.value.expected
    return caught.value


def outcome(call: Callable[[], Any]) -> tuple[Any, Code]:
    """Run ``call``; give its value and OK, or None and the code of its refusal; all else is raised."""
    try:
        return call(), Code.OK
    except Refused as refusal:
        return None, refusal.code
