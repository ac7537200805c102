"""Exit statuses that our processes and their supervisor agree on (numbers of sysexits.h)."""

from __future__ import annotations

from typing import Final

EXIT_OK: Final = 0
EXIT_FAILED: Final = 70
"""EX_SOFTWARE: failed while running; a restart goes on from what was last committed."""
EXIT_AGAIN: Final = 75
"""EX_TEMPFAIL: could not start now; trying again may help."""
EXIT_PERMANENT: Final = 78
"""EX_CONFIG: could not start and trying again cannot help; supervision gives up at once."""
