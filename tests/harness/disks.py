"""Bad disks: small ones that fill up, and files that are damaged."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

from monolith_tf import failpoints

_BLOCK_BYTES = 1 << 16


class SmallDisk:
    """A file system of a few MiB that a test fills and empties.

    Attributes:
        path: Its root.
        is_real: True if it is a tmpfs. Otherwise it is a folder, and `full`
            makes failpoints fail, in this process alone.
    """

    def __init__(self, path: pathlib.Path, is_real: bool):
        """Keeps the arguments; `small_disk` makes disks."""
        self.path = path
        self.is_real = is_real

    @contextlib.contextmanager
    def full(self, *failpoint_names: str) -> Iterator[None]:
        """Leaves no room during the block.

        Args:
            *failpoint_names: Those that fail with ENOSPC where the disk is not
                real.
        """
        if not self.is_real:
            spec = ",".join(f"{name}::enospc" for name in failpoint_names)
            with failpoints.fail_at(spec):
                yield
            return
        filler = self.path / ".filler"
        try:
            fill(filler)
            yield
        finally:
            filler.unlink(missing_ok=True)


def fill(path: pathlib.Path) -> None:
    """Writes a file until its disk has no room."""
    with open(path, "wb", buffering=0) as file:
        for size in (_BLOCK_BYTES, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    pass


@contextlib.contextmanager
def small_disk(path: pathlib.Path, num_bytes: int = 16 << 20):
    """Mounts a small tmpfs, which needs root, or says why there is none.

    Args:
        path: Where to mount it; created.
        num_bytes: Its size.

    Yields:
        A `SmallDisk`.
    """
    path.mkdir(parents=True, exist_ok=True)
    options = f"size={num_bytes}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "small-disk", str(path)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
        reason = done.stderr.strip() if done.returncode else ""
    except OSError as error:
        reason = str(error)
    if reason:
        print(
            f"small disk: no tmpfs ({reason}); failpoints take its place",
            file=sys.stderr,
        )
        yield SmallDisk(path, is_real=False)
        return
    try:
        yield SmallDisk(path, is_real=True)
    finally:
        # Lazily: a process that a test has just killed may hold a file.
        subprocess.run(["umount", "-l", str(path)], check=True)


def tear(path: os.PathLike, share: float = 0.5) -> None:
    """Keeps the first part of a file."""
    os.truncate(path, int(os.path.getsize(path) * share))


def flip(path: os.PathLike, position: float = 0.5, bit: int = 0) -> None:
    """Flips one bit of a file, at a share of its length."""
    with open(path, "r+b") as file:
        offset = int(position * (os.path.getsize(path) - 1))
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ (1 << bit)]))


def empty(path: os.PathLike) -> None:
    """Leaves a file without content."""
    os.truncate(path, 0)


def lose(path: os.PathLike) -> None:
    """Removes a file."""
    os.remove(path)


DAMAGES = {"tear": tear, "flip": flip, "empty": empty, "lose": lose}
