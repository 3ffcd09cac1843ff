"""Snapshots: complete, atomic, restorable states of a model with tables.

Imports `table` and below. Start with `snapshot_writer.py`; `store.py` draws the
directory.
"""

from monolith_tf.snapshots.manifest import Manifest
from monolith_tf.snapshots.recovery import Recovery
from monolith_tf.snapshots.recovery import recover
from monolith_tf.snapshots.restoring import latest
from monolith_tf.snapshots.restoring import restore
from monolith_tf.snapshots.snapshot_writer import SnapshotWriter
from monolith_tf.snapshots.snapshot_writer import save
from monolith_tf.snapshots.store import SnapshotStore
from monolith_tf.snapshots.writer_epoch import WriterEpoch

__all__ = [
    "Manifest",
    "Recovery",
    "SnapshotStore",
    "SnapshotWriter",
    "WriterEpoch",
    "latest",
    "recover",
    "restore",
    "save",
]
