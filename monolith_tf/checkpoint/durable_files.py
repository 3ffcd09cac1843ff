"""Files that are durable before they have their name."""

from __future__ import annotations

import os

import google_crc32c
import tensorflow as tf

from monolith_tf import failpoints

_CHUNK_BYTES = 1 << 20


def is_local(path: str) -> bool:
    """Returns True for a path of the local file system."""
    return "://" not in path or path.startswith("file://")


def local_path(path: str) -> str:
    """Returns a local path without `file://`."""
    return path.removeprefix("file://")


def write_durably(path: str, content: bytes) -> None:
    """Writes a file that has its name only when it is on disk.

    Args:
        path: The file, replaced if it exists. On a file system other than the
            local one TensorFlow's `rename` and its `close` must be durable.
        content: All bytes of the file.

    Raises:
        OSError: The disk is full or fails (`tf.errors.OpError` on other file
            systems). The old file is unchanged.
    """
    temporary = path + ".tmp"
    failpoints.hit("durable_files.before_write")
    if not is_local(path):
        with tf.io.gfile.GFile(temporary, "wb") as file:
            file.write(content)
        tf.io.gfile.rename(temporary, path, overwrite=True)
        return
    with open(local_path(temporary), "wb") as file:
        file.write(content)
        file.flush()
        failpoints.hit("durable_files.before_fsync")
        os.fsync(file.fileno())
    failpoints.hit("durable_files.before_rename")
    os.replace(local_path(temporary), local_path(path))
    failpoints.hit("durable_files.after_rename")
    sync_directory(os.path.dirname(path))


def sync_directory(path: str) -> None:
    """Makes the entries of a local directory durable."""
    if not is_local(path):
        return
    descriptor = os.open(local_path(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        failpoints.hit("durable_files.before_directory_fsync")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: str) -> None:
    """Makes a local file durable that another writer closed."""
    if not is_local(path):
        return
    descriptor = os.open(local_path(path), os.O_RDONLY)
    try:
        failpoints.hit("durable_files.before_file_fsync")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: str) -> bytes:
    """Returns the bytes of a file.

    Raises:
        tf.errors.NotFoundError: There is no such file.
    """
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read()


def checksum(path: str) -> tuple[int, int]:
    """Returns the size of a file in bytes and its CRC32C.

    Raises:
        tf.errors.NotFoundError: There is no such file.
    """
    size, crc = 0, 0
    with tf.io.gfile.GFile(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            size += len(chunk)
            crc = google_crc32c.extend(crc, chunk)
    return size, crc
