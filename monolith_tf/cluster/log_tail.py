"""The text that a log got since the last look."""

from __future__ import annotations

import os
import pathlib


class LogTail:
    """Reads the text that is appended to a file, from now on.

    Args:
        path: The file, which need not exist yet.

    Example:
    >>> LogTail("no/such/file").read()
    ''
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Skips the text that is there."""
        self._path = pathlib.Path(path)
        self._read_bytes = 0
        if self._path.exists():
            self._read_bytes = self._path.stat().st_size

    def read(self) -> str:
        """Returns the text since the last call; it may be empty."""
        if not self._path.exists():
            return ""
        with open(self._path, "rb") as log:
            log.seek(self._read_bytes)
            text = log.read()
        self._read_bytes += len(text)
        return text.decode(errors="replace")
