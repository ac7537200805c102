"""Files a person names, read within a bound."""

from __future__ import annotations

from pathlib import Path

from ledger.errors import Code, Refused, unwritable


def read_file(path: Path, bytes_max: int) -> bytes:
    """Give the content of a file.

    Raises:
        EnvironmentFault: HOME_INVALID where it cannot be read.
        Refused: LIMIT_EXCEEDED.
    """
    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
    except OSError as error:
        raise unwritable(error, "a file that can be read", file=str(path)) from None
    if len(content) > bytes_max:
        raise Refused(
            Code.LIMIT_EXCEEDED,
            got=f"over {bytes_max} bytes",
            expected=f"at most {bytes_max}",
            file=str(path),
        )
    return content
