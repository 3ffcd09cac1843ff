"""The epoch of a writer: a number that fences older writers of a directory."""

from __future__ import annotations

import os
import re

import tensorflow as tf

from monolith_tf import failpoints
from monolith_tf.checkpoint import durable_files
from monolith_tf.errors import FencedError
from monolith_tf.placement.writers import WRITER

_FILE = re.compile(r"^EPOCH-(\d{8})$")


class WriterEpoch:
    """The right of this process to write into a directory.

    A new writer takes the next number, by a file that it creates if nobody has.
    From then on an older one is fenced: `check` refuses it. A process that
    takes the epoch again keeps its number as long as it is the latest.

    On a file system other than the local one two processes that take an epoch
    in the same moment may get one number, because TensorFlow cannot create a
    file exclusively there. `check` refuses the one whose file was overwritten.

    Args:
        directory: Directory of the snapshots or checkpoints; created if needed.

    Attributes:
        number: The epoch, from 1.

    Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     epoch = WriterEpoch(folder)
    ...     epoch.check()
    ...     epoch.number, WriterEpoch(folder).number
    (1, 1)
    """

    def __init__(self, directory: str | os.PathLike[str]):
        """Takes the epoch."""
        self._directory = os.fspath(directory)
        tf.io.gfile.makedirs(self._directory)
        while True:
            taken = self._taken()
            if taken and self._writer_of(taken[-1]) == _writer():
                self.number = taken[-1]
                return
            self.number = taken[-1] + 1 if taken else 1
            if self._create():
                break
        for older in taken:
            path = self._path(older)
            failpoints.hit("writer_epoch.before_remove")
            if tf.io.gfile.exists(path):
                tf.io.gfile.remove(path)

    def check(self) -> None:
        """Checks that no newer writer exists.

        Raises:
            FencedError: One does; this process must not write any more.
        """
        taken = self._taken()
        latest = taken[-1] if taken else 0
        if latest == self.number and self._writer_of(latest) == _writer():
            return
        raise FencedError(
            f"{self._directory!r} belongs to the writer of epoch {latest}. "
            f"Expected epoch {self.number}, which this process took: another "
            "process was started in its place. Stop this one."
        )

    def _taken(self) -> list[int]:
        names = (x.rstrip("/") for x in tf.io.gfile.listdir(self._directory))
        found = map(_FILE.match, names)
        return sorted(int(match[1]) for match in found if match)

    def _path(self, number: int) -> str:
        return os.path.join(self._directory, f"EPOCH-{number:08d}")

    def _writer_of(self, number: int) -> bytes:
        try:
            return durable_files.read(self._path(number))
        except tf.errors.NotFoundError:
            return b""

    def _create(self) -> bool:
        """Returns False if another process has created the file."""
        path = self._path(self.number)
        failpoints.hit("writer_epoch.before_create")
        if not durable_files.is_local(path):
            durable_files.write_durably(path, _writer())
            return True
        # Whole before it has its name: a link to an existing name fails.
        temporary = durable_files.local_path(f"{path}.{WRITER:016x}")
        with open(temporary, "wb") as file:
            file.write(_writer())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, durable_files.local_path(path))
        except FileExistsError:
            return False
        finally:
            os.unlink(temporary)
        durable_files.sync_directory(self._directory)
        return True


def _writer() -> bytes:
    return f"{WRITER:016x}\n".encode()
