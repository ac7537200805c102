"""Characters that show people something else than programs read: hidden, turning, or dressed as another.

Owns the sets. Promises that a text of ASCII without control characters is never suspected, that scripts may
be used as a whole, and that nothing is removed: ``reveal`` spells such a character out.
Source: Unicode UTR 36 §2, UTS 39 §4; docs/spec/mcp-guard.md §4.
"""

from __future__ import annotations

import re

_HIDDEN = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # control characters but tab and line ends
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"  # soft hyphen, joiners, fillers
    "\u200b-\u200f\u202a-\u202e\u2028\u2029\u2060-\u206f\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff0-\uffff"
    "\U000e0000-\U000e0fff\U000f0000-\U0010ffff"  # tags, variation selectors, private planes
    "\ud800-\udfff"
)
_DRESSED = "\uff01-\uff5e\U0001d400-\U0001d7ff\u2100-\u214f"
"""Letters and signs in another dress: full width, mathematical, letter-like."""
_CYRILLIC = "АВЕЗІЈКМНОРСТУХЅҮԌԚԜаеосрухіјѕһԁԛԝвкмнтгпѵү"
_GREEK = "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧονικρυχαγ"
_OTHER = "աոսօցքհյզլꓐꓑꓓꓔꓖꓗꓙꓚꓜꓝꓟꓠꓢꓣꓤꓦꓧꓪꓫꓬꓮꓰꓲꓳꓴᎪᏴᏟᎠᎬᏀᎻᎫᏦᏞᎷᏢᏒᏚᎢᏙᎳᏃ"
_LOOKALIKE = _CYRILLIC + _GREEK + _OTHER

HIDDEN = re.compile(f"[{_HIDDEN}]")
_VARIATION = re.compile("(?<![\u2010-\U0001faff])[\ufe0e\ufe0f]")
"""A choice between text and picture after what is no sign."""
_MIXED = re.compile(f"[A-Za-z][{_LOOKALIKE}]|[{_LOOKALIKE}][A-Za-z]|[{_DRESSED}]")
_ESCAPED = re.compile(r"\\(?:u00|[bf])|\x7f")
"""How control characters look in JSON text; a backslash and letters look alike and are told apart later."""


def may_hide(text: str) -> bool:
    """Tell quickly of a JSON text whether it has to be looked through."""
    return not text.isascii() or _ESCAPED.search(text) is not None


def disguised(text: str, *, is_name: bool = False) -> str:
    """Give what is disguised about a text, in words; nothing where all is as it seems.

    What names something for programs (``is_name``) has to be ASCII.
    """
    if text.isascii():
        return "a control character" if HIDDEN.search(text) else ""
    if HIDDEN.search(text) or _VARIATION.search(text):
        return "a hidden character"
    if is_name:
        return "a name that is not ASCII"
    return "a letter that looks like another" if _MIXED.search(text) else ""


def reveal(text: str) -> str:
    """Spell hidden characters out, so that people and models see what is there."""
    return HIDDEN.sub(lambda m: f"<U+{ord(m[0]):04X}>", text)
