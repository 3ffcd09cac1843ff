"""Checkpoints of TensorFlow in one folder: durable ones, and damaged ones.

TensorFlow names the latest checkpoint in a file `checkpoint`, which is a hint
here: if it is damaged, or names none that exists, the files tell.
"""

from __future__ import annotations

import logging
import os
import re
import time

import tensorflow as tf
from tensorflow.python.checkpoint import checkpoint_management

from monolith_tf import failpoints
from monolith_tf.checkpoint import durable_files
from monolith_tf.errors import CheckpointError
from monolith_tf.errors import in_one_line

STATE = "checkpoint"
_INDEX = re.compile(r"^(.+)-(\d+)\.index$")
_PART = re.compile(r"^.+-\d+\.(index|data-\d{5}-of-\d{5})$")
_log = logging.getLogger(__name__)


def is_damage(error: Exception) -> bool:
    """Returns True for an error of a damaged or missing file.

    Args:
        error: Error of a restore. TensorFlow's reader in Python raises a plain
            `tf.errors.OpError`.
    """
    return type(error) is tf.errors.OpError or isinstance(
        error,
        (
            tf.errors.DataLossError,
            tf.errors.OutOfRangeError,
            tf.errors.NotFoundError,
            IndexError,
        ),
    )


def sync_checkpoint(prefix: str) -> None:
    """Makes the files of a checkpoint durable, and then their names.

    Call it before anything names the checkpoint. Files that parameter servers
    wrote to a shared file system are synchronized from this process.

    Args:
        prefix: Path of the checkpoint. Other file systems than the local one
            are left to TensorFlow.

    Raises:
        OSError: The disk failed.
    """
    if not durable_files.is_local(prefix):
        return
    folder = os.path.dirname(prefix) or "."
    for name in sorted(os.listdir(durable_files.local_path(folder))):
        path = os.path.join(folder, name)
        if path.startswith((f"{prefix}.data-", f"{prefix}.index")):
            durable_files.sync_file(path)
    failpoints.hit("checkpoint_folder.before_directory_fsync")
    durable_files.sync_directory(folder)


class CheckpointFolder:
    """The numbered checkpoints of a directory.

    Args:
        directory: The directory; it need not exist.

    Example:
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoint = tf.train.Checkpoint(x=tf.Variable(1.0))
    ...     path = checkpoint.write(f"{folder}/ckpt-7")
    ...     names = [os.path.basename(x) for x in
    ...              CheckpointFolder(folder).prefixes()]
    >>> names
    ['ckpt-7']
    """

    def __init__(self, directory: str | os.PathLike[str]):
        """Reads and writes nothing yet."""
        self.directory = os.fspath(directory)

    def prefixes(self) -> list[str]:
        """Returns the paths of all checkpoints, the newest first.

        They are ordered by number. Their files may be damaged.
        """
        found = [
            match for name in self._names() if (match := _INDEX.match(name))
        ]
        found.sort(key=lambda match: int(match[2]), reverse=True)
        return [
            os.path.join(self.directory, f"{match[1]}-{match[2]}")
            for match in found
        ]

    def has_been_used(self) -> bool:
        """Returns True if files of a checkpoint exist, whole or not."""
        return any(x == STATE or _PART.match(x) for x in self._names())

    def damage(self, prefix: str) -> str | None:
        """Reads every byte of a checkpoint.

        Returns:
            None if all of it is whole, or what is wrong with it.
        """
        try:
            reader = tf.train.load_checkpoint(prefix)
            for name in reader.get_variable_to_shape_map():
                reader.get_tensor(name)
        except (tf.errors.OpError, IndexError) as error:
            return in_one_line(error)
        return None

    def repair_state(self, verify: bool = False) -> str | None:
        """Makes the file `checkpoint` name the newest checkpoint.

        Does nothing if it names one that exists. Logs an error otherwise.

        Args:
            verify: Also reads the checkpoint that it names, and if that is
                damaged, older ones: the newest whole one is the latest then.

        Returns:
            Path of the checkpoint that it names now; None if none exists, with
            `verify` if none is whole.
        """
        found = self.prefixes()
        named = self._named()
        usable = named in found
        if usable and verify:
            usable = self.damage(named) is None
        if usable:
            return named
        if not found and named is None:
            return None
        if verify:
            found = [prefix for prefix in found if self._is_whole(prefix)]
        path = os.path.join(self.directory, STATE)
        _log.error(
            "%s names %s. The newest%s checkpoint is %s. Using that.",
            path,
            "no checkpoint" if named is None else named,
            " whole" if verify else "",
            found[0] if found else None,
        )
        if not found:
            return None
        now = time.time()
        failpoints.hit("checkpoint_folder.before_state")
        checkpoint_management.update_checkpoint_state_internal(
            self.directory,
            found[0],
            all_model_checkpoint_paths=found[::-1],
            # A manager forgets those that are not later than the last.
            all_model_checkpoint_timestamps=[now] * len(found),
            last_preserved_timestamp=now - 1.0,
            save_relative_paths=True,
        )
        self.sync_state()
        return found[0]

    def require_whole(self) -> None:
        """Repairs the state, and makes sure that it names a whole checkpoint.

        All of the latest checkpoint is read.

        Raises:
            CheckpointError: Files of checkpoints exist, and none is whole.
        """
        latest = self.repair_state(verify=True)
        if latest is None and self.has_been_used():
            raise CheckpointError(
                f"{self.directory!r} has files of checkpoints, and none is "
                f"whole. Received: {self.prefixes()}. Restore a copy of the "
                "directory, or move the files away to begin from nothing."
            )

    def sync_state(self) -> None:
        """Makes the file `checkpoint` durable."""
        path = os.path.join(self.directory, STATE)
        if durable_files.is_local(path) and tf.io.gfile.exists(path):
            durable_files.sync_file(path)
            durable_files.sync_directory(self.directory)

    def _is_whole(self, prefix: str) -> bool:
        damage = self.damage(prefix)
        if damage is not None:
            _log.error("Passing over checkpoint %s: %s", prefix, damage)
        return damage is None

    def _names(self) -> list[str]:
        if not tf.io.gfile.isdir(self.directory):
            return []
        return tf.io.gfile.listdir(self.directory)

    def _named(self) -> str | None:
        """Returns the path that the file `checkpoint` names, or None."""
        try:
            state = tf.train.get_checkpoint_state(self.directory)
        except (ValueError, UnicodeDecodeError):
            return None  # An empty or garbled file.
        if state is None or not state.model_checkpoint_path:
            return None
        return os.path.join(self.directory, state.model_checkpoint_path)
