"""The snapshots in a directory.

```
<directory>/CURRENT                              name of the latest snapshot
<directory>/snapshot-<number, 8 digits>/MANIFEST
<directory>/snapshot-<number, 8 digits>/rows-<table set>-<shard>-of-<shards>
<directory>/snapshot-<number, 8 digits>/dense.*  a TensorFlow checkpoint
```

A folder is a snapshot once it has a manifest, which gets its name when every
file is durable. `CURRENT` is a hint: if it is damaged or missing, the newest
whole snapshot is the latest.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator

import tensorflow as tf

from monolith_tf import failpoints
from monolith_tf.checkpoint import durable_files
from monolith_tf.errors import CheckpointError
from monolith_tf.errors import FormatError
from monolith_tf.snapshots.manifest import File
from monolith_tf.snapshots.manifest import Manifest

MANIFEST = "MANIFEST"
CURRENT = "CURRENT"
DENSE = "dense"
_FOLDER = re.compile(r"^snapshot-(\d{8})$")
_log = logging.getLogger(__name__)


class SnapshotStore:
    """Reads, names and removes the snapshots of one directory.

    Args:
        directory: Local, or on a file system of TensorFlow. It need not exist.
    """

    def __init__(self, directory: str | os.PathLike[str]):
        """Reads and writes nothing yet."""
        self.directory = os.fspath(directory)

    def folder(self, number: int) -> str:
        """Returns the folder of a snapshot."""
        return os.path.join(self.directory, f"snapshot-{number:08d}")

    def path(self, number: int, name: str) -> str:
        """Returns the path of a file of a snapshot."""
        return os.path.join(self.folder(number), name)

    def numbers(self) -> list[int]:
        """Returns the numbers of all folders, finished or not, ascending."""
        if not tf.io.gfile.isdir(self.directory):
            return []
        names = (x.rstrip("/") for x in tf.io.gfile.listdir(self.directory))
        found = map(_FOLDER.match, names)
        return sorted(int(match[1]) for match in found if match)

    def has_been_used(self) -> bool:
        """Returns True if a snapshot was ever durable here, whole or not.

        A folder without a manifest alone is of a first one that was never
        finished.
        """
        return bool(self.finished()) or tf.io.gfile.exists(
            os.path.join(self.directory, CURRENT)
        )

    def load(self, number: int) -> Manifest:
        """Reads a manifest.

        Raises:
            CheckpointError: There is no such snapshot, or it was not finished.
            FormatError: The manifest is damaged.
        """
        path = self.path(number, MANIFEST)
        try:
            manifest = Manifest.from_bytes(durable_files.read(path), path)
        except tf.errors.NotFoundError as error:
            raise CheckpointError(
                f"{self.directory!r} has no snapshot {number}: {path} does not "
                f"exist. Snapshots there: {self.finished()}."
            ) from error
        if manifest.number != number:
            raise FormatError(
                f"{path} is the manifest of snapshot {manifest.number}. "
                f"Expected {number}: a folder was renamed or copied."
            )
        return manifest

    def finished(self) -> list[int]:
        """Returns the numbers of the folders with a manifest, ascending."""
        return [
            number
            for number in self.numbers()
            if tf.io.gfile.exists(self.path(number, MANIFEST))
        ]

    def chain(self, number: int) -> list[Manifest]:
        """Returns the snapshots that a restore reads, the full one first.

        Raises:
            CheckpointError: One is missing, doubled, or does not continue its
                parent.
            FormatError: A manifest is damaged.
        """
        chain = [self.load(number)]
        while not chain[0].is_full:
            child = chain[0]
            if child.parent >= child.number:
                raise self._broken(child, f"its parent is {child.parent}")
            parent = self.load(child.parent)
            self._check_continues(parent, child)
            chain.insert(0, parent)
        return chain

    def check(self, number: int, contents: bool = False) -> list[Manifest]:
        """Returns the chain of a snapshot whose files are all there.

        Args:
            number: The snapshot.
            contents: Also reads every byte and compares the checksums.

        Raises:
            CheckpointError: As `chain`.
            FormatError: A file is missing or damaged.
        """
        chain = self.chain(number)
        for manifest in chain:
            for file in (*manifest.parts, *manifest.dense):
                self.check_file(manifest, file, contents)
        return chain

    def latest(self) -> Manifest | None:
        """Returns the newest whole snapshot, or None if there is none.

        Logs an error for each damaged one that it passes over.
        """
        return next(self.whole(), None)

    def whole(self) -> Iterator[Manifest]:
        """Yields the whole snapshots, the newest first.

        Logs an error for each damaged one that it passes over.
        """
        is_first = True
        for number in reversed(self.finished()):
            try:
                manifest = self.check(number)[-1]
            except (CheckpointError, FormatError) as error:
                _log.error("Passing over snapshot %d: %s", number, error)
                continue
            if is_first:
                self._warn_of_current(manifest)
            is_first = False
            yield manifest

    def publish(self, manifest: Manifest) -> None:
        """Makes a folder a snapshot, whose files are durable."""
        folder = self.folder(manifest.number)
        failpoints.hit("snapshot_store.before_publish")
        durable_files.sync_directory(folder)
        durable_files.sync_directory(self.directory)
        durable_files.write_durably(
            os.path.join(folder, MANIFEST), manifest.to_bytes()
        )
        failpoints.hit("snapshot_store.before_current")
        durable_files.write_durably(
            os.path.join(self.directory, CURRENT),
            f"{os.path.basename(folder)}\n".encode(),
        )

    def remove(self, number: int) -> None:
        """Removes a snapshot or what was written of one.

        The manifest goes first, so that half a snapshot never counts.
        """
        manifest = self.path(number, MANIFEST)
        failpoints.hit("snapshot_store.before_remove")
        if tf.io.gfile.exists(manifest):
            tf.io.gfile.remove(manifest)
            durable_files.sync_directory(self.folder(number))
        failpoints.hit("snapshot_store.before_remove_parts")
        if tf.io.gfile.exists(self.folder(number)):
            tf.io.gfile.rmtree(self.folder(number))

    def prune(self, keep: int) -> list[int]:
        """Removes old snapshots.

        Folders that are older than the newest snapshot and never became one go
        too.

        Args:
            keep: Number of whole snapshots to keep, at least 1. Those that they
                continue are kept too.

        Returns:
            The numbers of the removed folders.

        Raises:
            ValueError: `keep` is below 1.
        """
        if keep < 1:
            raise ValueError(f"keep must be at least 1. Received: {keep}.")
        kept: set[int] = set()
        for count, manifest in enumerate(self.whole()):
            if count == keep:
                break
            kept.update(x.number for x in self.chain(manifest.number))
        if not kept:
            return []
        newest = max(kept)
        removed = [
            number
            for number in self.numbers()
            if number < newest and number not in kept
        ]
        for number in removed:
            self.remove(number)
        return removed

    def _check_continues(self, parent: Manifest, child: Manifest) -> None:
        if parent.snapshot_id != child.parent_id:
            raise self._broken(
                child,
                f"snapshot {parent.number} is {parent.snapshot_id}, and its "
                f"parent was {child.parent_id}",
            )
        before = {(part.table_set, part.shard): part for part in parent.parts}
        after = {(part.table_set, part.shard): part for part in child.parts}
        if len(after) != len(child.parts) or before.keys() != after.keys():
            raise self._broken(
                child,
                f"it has parts of the shards {sorted(after)}, and its parent "
                f"of {sorted(before)}",
            )
        for key, part in after.items():
            if (part.generation, part.from_cut) != (
                before[key].generation,
                before[key].to_cut,
            ):
                raise self._broken(
                    child,
                    f"{part.name} continues cut {part.from_cut} of generation "
                    f"{part.generation}, and its parent ends at cut "
                    f"{before[key].to_cut} of generation "
                    f"{before[key].generation}",
                )

    def _broken(self, manifest: Manifest, what: str) -> CheckpointError:
        return CheckpointError(
            f"{self.path(manifest.number, MANIFEST)} does not continue its "
            f"parent: {what}. Use an earlier snapshot."
        )

    def check_file(
        self, manifest: Manifest, file: File, contents: bool
    ) -> None:
        """Checks one file of a snapshot.

        Args:
            manifest: The snapshot.
            file: One of its files.
            contents: Also reads every byte and compares the checksum.

        Raises:
            FormatError: The file is missing, or has another size or checksum.
        """
        path = self.path(manifest.number, file.name)
        try:
            found = tf.io.gfile.stat(path).length
        except tf.errors.NotFoundError as error:
            raise FormatError(
                f"{path} is missing. Expected {file.num_bytes} bytes. Use an "
                "earlier snapshot."
            ) from error
        if found != file.num_bytes:
            raise FormatError(
                f"{path} has {found} bytes. Expected {file.num_bytes}. Use an "
                "earlier snapshot."
            )
        if not contents:
            return
        _, crc = durable_files.checksum(path)
        if crc != file.crc32c:
            raise FormatError(
                f"{path} has CRC32C {crc:#010x}. Expected {file.crc32c:#010x}. "
                "Use an earlier snapshot."
            )

    def _warn_of_current(self, manifest: Manifest) -> None:
        path = os.path.join(self.directory, CURRENT)
        try:
            name = durable_files.read(path).decode(errors="replace").strip()
        except tf.errors.NotFoundError:
            name = "no file"
        if name != os.path.basename(self.folder(manifest.number)):
            _log.error(
                "%s names %r, and the newest whole snapshot is %s. Using that.",
                path,
                name,
                self.folder(manifest.number),
            )
