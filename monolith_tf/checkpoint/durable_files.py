"""Files of TensorFlow checkpoints that outlive a power cut.

TensorFlow closes and renames the files of a checkpoint without synchronizing
them. Here the process that names a checkpoint as the latest first synchronizes
all of its files, also those that servers wrote: they are on a file system that
all of them share. A network file system has them when their writer closes them.
On file systems other than the local one nothing is synchronized: their `close`
and `rename` must be durable.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import re
import shutil
from collections.abc import Iterator

from monolith_tf import failpoints

_TEMPORARY = re.compile(r".+-\d+_temp")
_LOCK = "checkpoint.lock"


def is_local(path: str) -> bool:
    """Returns True for a path of the local file system."""
    return "://" not in path or path.startswith("file://")


def local_path(path: str) -> str:
    """Returns a local path without `file://`."""
    return path.removeprefix("file://")


def sync_checkpoint(prefix: str) -> None:
    """Makes a checkpoint durable: data, index, and their names.

    Args:
        prefix: Path of the checkpoint, all of which is written.

    Raises:
        OSError: The disk is full or fails.
    """
    if not is_local(prefix):
        return
    prefix = local_path(prefix)
    files = sorted(glob.glob(glob.escape(prefix) + ".data-?????-of-?????"))
    for path in [*files, prefix + ".index"]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            failpoints.hit("checkpoint_files.before_fsync")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    directory = os.path.dirname(os.path.abspath(prefix))
    sync_directory(directory)
    # The directory itself may be new. Its parent may be somebody else's.
    with contextlib.suppress(PermissionError):
        sync_directory(os.path.dirname(directory))


def sync_directory(path: str) -> None:
    """Makes the entries of a local directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        failpoints.hit("checkpoint_files.before_directory_fsync")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_durably(path: str, content: bytes) -> None:
    """Replaces a local file by one that is durable before it has its name.

    Args:
        path: The file.
        content: All of its bytes.

    Raises:
        OSError: The disk is full or fails. The old file is unchanged.
    """
    path = local_path(path)
    temporary = path + ".tmp"
    failpoints.hit("checkpoint_files.before_write")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        failpoints.hit("checkpoint_files.before_state_fsync")
        os.fsync(file.fileno())
    failpoints.hit("checkpoint_files.before_rename")
    os.replace(temporary, path)
    failpoints.hit("checkpoint_files.after_rename")
    sync_directory(os.path.dirname(os.path.abspath(path)))


@contextlib.contextmanager
def saving_in(directory: str) -> Iterator[None]:
    """Marks a local directory as one that a live process saves to.

    Several processes may save at once.

    Args:
        directory: The directory, created if it does not exist.
    """
    if not is_local(directory):
        yield
        return
    directory = local_path(directory)
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, _LOCK), "ab") as file:
        failpoints.hit("checkpoint_files.before_lock")
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def remove_left_over(directory: str) -> None:
    """Removes the temporary directories of killed saves.

    Does nothing while a live process saves to the directory.

    Args:
        directory: Folder of the checkpoints.
    """
    directory = local_path(directory)
    if not is_local(directory) or not os.path.isdir(directory):
        return
    left = [name for name in os.listdir(directory) if _TEMPORARY.match(name)]
    if not left:
        return
    with open(os.path.join(directory, _LOCK), "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        for name in left:
            failpoints.hit("checkpoint_files.before_remove")
            shutil.rmtree(os.path.join(directory, name), ignore_errors=True)
