"""Every maximum of the audit, unit in its name."""

from __future__ import annotations

from ledger.limits import KIB, MIB

LINE_BYTES_MAX = 16 * KIB
"""Of one record with its hash and line end: a decision with all its reasons fits."""
NAME_CHARACTERS_MAX = 200
REASONS_MAX = 8
REFUSED_CALLS_MAX = 64
REFUSED_CALLS_SECONDS = 600
"""So many refused calls of one caller are written whole in so long; what is more is counted."""
REASON_BYTES_MAX = KIB
"""Of one reason's canonical JSON; a longer one keeps its code alone."""
DOOR_CODES_MAX = 64
"""Different codes in one record of who was not let in."""
UNFINISHED_MAX = 64
"""Calls that may be open at one moment; they are served one at a time."""

HEAD_RECORDS_MAX = 64
"""Records that may follow a signed head before the next one."""
HEAD_RECORDS_SLACK = 4
"""What one call writes at once may pass the limit by so many."""
HEAD_SECONDS = 5.0
"""After which a head is signed, however few records there are."""
ANCHOR_RECORDS = 1024
ANCHOR_SECONDS = 600.0
SEGMENT_BYTES = 16 * MIB
SEGMENT_SECONDS = 24 * 3600
SEGMENTS_MAX = 1_000_000
LOGS_MAX = 32
"""Logs in one folder: so many servers may write beside each other."""
