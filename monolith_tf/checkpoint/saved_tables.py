"""Tables in the files of a checkpoint, found by name.

Keras and `tf.train.Checkpoint` key their tensors by the path to an object,
Estimators and other savers of graphs by its name. A table has the same parts in
both, and one of them, the layout, ends with the table's name.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from monolith_tf.checkpoint.layout import name_in
from monolith_tf.errors import CheckpointError
from monolith_tf.placement import sharding

# Ends the path to an object in a checkpoint; the name of a part follows.
ATTRIBUTES = "/.ATTRIBUTES/"
_LAYOUT = ATTRIBUTES + "layout"


def checkpoint_path(path: str | os.PathLike) -> str:
    """Returns the prefix of a checkpoint, or of the latest one in a folder.

    Raises:
        CheckpointError: There is no checkpoint.
    """
    path = os.fspath(path)
    found = path
    if tf.io.gfile.isdir(path):
        found = tf.train.latest_checkpoint(path)
    if not found or not tf.io.gfile.glob(found + ".index"):
        raise CheckpointError(
            f"There is no checkpoint at {path!r}. Expected the prefix of one, "
            'such as "model/model.ckpt-100", or a folder with one.'
        )
    return found


def tables_in_checkpoint(path: str | os.PathLike) -> dict[str, str]:
    """Returns the tables of a checkpoint: name to the prefix of its parts.

    Args:
        path: Prefix of a checkpoint, or a folder.
    """
    reader = tf.train.load_checkpoint(checkpoint_path(path))
    found = {}
    for key in sorted(reader.get_variable_to_shape_map()):
        if not key.endswith(_LAYOUT):
            continue
        name = name_in(reader.get_tensor(key).decode())
        if name is not None:
            found.setdefault(name, key[: -len("layout")])
    return found


@dataclasses.dataclass(frozen=True)
class SavedTable:
    """One table in a checkpoint.

    Attributes:
        path: Prefix of the checkpoint.
        name: The table's name in it.
        prefix: Prefix of the keys of its parts.
    """

    path: str
    name: str
    prefix: str

    @classmethod
    def find(cls, path: str, name: str) -> SavedTable:
        """Finds a table by name.

        Raises:
            CheckpointError: The checkpoint lacks it.
        """
        found = tables_in_checkpoint(path)
        if name not in found:
            raise CheckpointError(
                f"The checkpoint {path!r} has no table {name!r}. It has "
                f"{sorted(found)}. Map the names where they differ. Restore a "
                "checkpoint from before tables had names by "
                "tf.train.Checkpoint(...).restore."
            )
        return cls(path, name, found[name])

    @property
    def layout(self) -> str:
        """Describes the rows; see `layout.py`."""
        return self._part("layout").decode()

    @property
    def filter(self) -> str:
        """Describes the counts of ids; see `Admission.filter_layout`."""
        return self._part("filter").decode()

    @property
    def dims(self) -> list[int]:
        """Dims of the segments."""
        return [int(dim) for dim in re.findall(r"dim=(\d+)", self.layout)]

    def weights(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields ids int64 `[n]` and rows float32 `[n, dim]`, without slots.

        One group at a time, because a table may exceed the memory of a process.
        """
        dim = sum(self.dims)
        for group in range(sharding.NUM_GROUPS):
            ids = self._part(f"keys-{group:02d}")[:, 0]
            yield ids, self._part(f"rows-{group:02d}")[:, :dim]

    def tensors(self) -> dict[str, tf.Tensor]:
        """Reads all parts, by name; in a graph, when it runs."""
        reader = tf.train.load_checkpoint(self.path)
        dtypes = reader.get_variable_to_dtype_map()
        keys = sorted(key for key in dtypes if key.startswith(self.prefix))
        tensors = tf.raw_ops.RestoreV2(
            prefix=self.path,
            tensor_names=keys,
            shape_and_slices=[""] * len(keys),
            dtypes=[dtypes[key] for key in keys],
        )
        return {
            key[len(self.prefix) :]: tensor
            for key, tensor in zip(keys, tensors, strict=True)
        }

    def _part(self, name: str):
        return tf.train.load_checkpoint(self.path).get_tensor(
            self.prefix + name
        )
