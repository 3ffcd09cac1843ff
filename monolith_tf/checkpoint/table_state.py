"""A table's part of a checkpoint: tensors keyed by fixed groups of partitions.

The keys do not depend on the number of servers, so a checkpoint of N servers
restores on M (docs/formats.md). The parts:

- per group `keys-<group>`, int64 `[n, 2]` (id, stamp), `rows-<group>`, float32
  `[n, row_width]`, and `filter-<group>`, int64, the counts of admission,
- `layout`, a text that describes the rows and names the table, and `filter`, a
  text that describes the counts,
- `counts`, int64 `[64]`, the number of rows per group,
- `clock`, int64 `[2]`, the number of the latest update and the latest event
  time, and
- `step`, int64, the number of `Table.apply_gradients` calls.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tensorflow.python.distribute import device_util
from tensorflow.python.training.saving import saveable_object

from monolith_tf import failpoints
from monolith_tf import ops
from monolith_tf.checkpoint.layout import check_filter
from monolith_tf.checkpoint.layout import check_layout
from monolith_tf.checkpoint.layout import named_layout
from monolith_tf.checkpoint.layout import warn_of_dropped_counts
from monolith_tf.checkpoint.restore_scope import TableRestore
from monolith_tf.checkpoint.restore_scope import source_in_graph
from monolith_tf.checkpoint.step_counter import other_ready_variables
from monolith_tf.checkpoint.step_counter import step_counter
from monolith_tf.errors import CheckpointError
from monolith_tf.placement import sharding
from monolith_tf.placement.table_handle import TableHandle
from monolith_tf.placement.table_set import servers_of

_GROUPS = range(sharding.NUM_GROUPS)
_KINDS = ("keys", "rows")


def serialize(table: TableHandle) -> dict[str, tf.Tensor]:
    """Reads a table into the tensors of a checkpoint, each on its server."""
    keys: list[list[tf.Tensor]] = [[] for _ in _GROUPS]
    rows: list[list[tf.Tensor]] = [[] for _ in _GROUPS]
    filters = _filters(table)
    homes: list[str] = [""] * len(_GROUPS)
    table_set = table.table_set
    for shard, (device, handle) in enumerate(servers_of(table_set)):
        groups = sharding.groups_of_shard(shard, table_set.num_shards)
        if not groups:
            continue
        with tf.device(device):
            shard_keys, shard_rows = ops.export_groups(
                handle,
                table=table.name,
                first_group=groups.start,
                num_groups=len(groups),
            )
        for number, group in enumerate(groups):
            keys[group].append(shard_keys[number])
            rows[group].append(shard_rows[number])
            homes[group] = homes[group] or device
    tensors = {}
    counts = []
    for group in _GROUPS:
        # A group on two servers is concatenated on the first of them.
        with tf.device(homes[group]):
            tensors[f"keys-{group:02d}"] = _concat(keys[group])
            tensors[f"rows-{group:02d}"] = _concat(rows[group])
            tensors[f"filter-{group:02d}"] = filters[group]
            counts.append(
                tf.shape(tensors[f"keys-{group:02d}"], out_type=tf.int64)[0]
            )
    with tf.device(table_set.devices[0]):
        tensors["counts"] = tf.stack(counts)
        tensors["layout"] = tf.constant(named_layout(table))
        tensors["filter"] = tf.constant(table.config.admission.filter_layout)
        tensors["step"] = step_counter(table).read_value()
        tensors["clock"] = _clock(table)
    return tensors


def save_specs(table: TableHandle) -> dict:
    """Returns the parts of a checkpoint, read when they are saved.

    TensorFlow asks for them before it restores a table, too: reading then would
    copy all rows that are about to go.
    """
    kept: dict = {}

    def part(name: str) -> tf.Tensor:
        graph = None
        if not tf.executing_eagerly():
            graph = tf.compat.v1.get_default_graph()
        if kept.get("graph", kept) is not graph:
            kept.update(graph=graph, tensors=serialize(table))
        return kept["tensors"][name]

    return {
        name: saveable_object.SaveSpec(
            functools.partial(part, name), "", name, dtype, device
        )
        for name, dtype, device in _parts(table)
    }


def _parts(table: TableHandle):
    """Yields name, dtype and device of each part of a checkpoint."""
    table_set = table.table_set
    devices = [device_util.canonicalize(d) for d in table_set.devices]
    for group, shard in enumerate(_homes(table_set.num_shards)):
        yield f"keys-{group:02d}", tf.int64, devices[shard]
        yield f"rows-{group:02d}", tf.float32, devices[shard]
        yield f"filter-{group:02d}", tf.int64, devices[shard]
    for name in ("counts", "step", "clock"):
        yield name, tf.int64, devices[0]
    for name in ("layout", "filter"):
        yield name, tf.string, devices[0]


def _homes(num_shards: int) -> list[int]:
    """Returns the first shard that has a part of each group."""
    homes = [-1] * len(_GROUPS)
    for shard in reversed(range(num_shards)):
        for group in sharding.groups_of_shard(shard, num_shards):
            homes[group] = shard
    return homes


@dataclasses.dataclass(frozen=True)
class TableState:
    """State of a table other than its rows, in arrays.

    Attributes:
        clock: int64 `[2]`: number of the latest update, latest event time.
        filter: Describes the words of `counted`: `Admission.filter_layout`.
        counted: int64 `[n]`: the counts of admission, group after group.
        words: int64 `[64]`: number of words of `counted` per group.
    """

    clock: np.ndarray
    filter: str
    counted: np.ndarray
    words: np.ndarray


def state_of(table: TableHandle) -> TableState:
    """Reads the state of a table other than its rows."""
    tensors = _filters(table)
    words = [filter_.numpy() for filter_ in tensors]
    return TableState(
        clock=_clock(table).numpy(),
        filter=table.config.admission.filter_layout,
        counted=np.concatenate(words),
        words=np.array([len(group) for group in words], np.int64),
    )


def set_state(table: TableHandle, state: TableState) -> None:
    """Sets the state of a table that has counted nothing yet.

    Raises:
        CheckpointError: The state belongs to another admission.
    """
    check_filter(table, tf.constant(state.filter))
    warn_of_dropped_counts(table, tf.constant(state.filter))
    ends = np.cumsum(state.words)
    groups = np.split(state.counted, ends[:-1])
    for shard, (device, handle) in enumerate(servers_of(table.table_set)):
        with tf.device(device):
            ops.set_clock(
                handle, state.clock, table=table.name, in_restore=True
            )
            if table.config.admission.filter_layout == "none":
                continue
            for group in sharding.groups_of_shard(
                shard, table.table_set.num_shards
            ):
                ops.import_filter(
                    handle, groups[group], table=table.name, group=group
                )


def _clock(table: TableHandle) -> tf.Tensor:
    clocks = []
    table_set = table.table_set
    for device, handle in servers_of(table_set):
        with tf.device(device):
            clocks.append(ops.read_clock(handle, table=table.name))
    with tf.device(table_set.devices[0]):
        return tf.reduce_max(clocks, axis=0)


def _filters(table: TableHandle) -> list[tf.Tensor]:
    """Reads the words of the admission counts per group."""
    found: list[list[tf.Tensor]] = [[] for _ in _GROUPS]
    homes: list[str] = [""] * len(_GROUPS)
    table_set = table.table_set
    for shard, (device, handle) in enumerate(servers_of(table_set)):
        groups = sharding.groups_of_shard(shard, table_set.num_shards)
        if not groups:
            continue
        with tf.device(device):
            words = ops.export_filter(
                handle,
                table=table.name,
                first_group=groups.start,
                num_groups=len(groups),
            )
        for number, group in enumerate(groups):
            found[group].append(words[number])
            homes[group] = homes[group] or device
    filters = []
    for group in _GROUPS:
        with tf.device(homes[group]):
            filters.append(_concat(found[group]))
    return filters


def restore(
    table: TableHandle,
    tensors: dict[str, tf.Tensor],
    number: int | None = None,
) -> tf.Operation | None:
    """Replaces the rows of a table by those of a checkpoint.

    Nothing changes unless every part is there and fits. Meanwhile the table set
    is refused, and in the end it gets a new generation (`restore_scope.py`).
    The step counter is set last.

    Args:
        table: The table.
        tensors: Parts by name, as `serialize` returns them.
        number: Number of TensorFlow's restore that this is a part of.

    Raises:
        CheckpointError: A part is missing, or the rows are of another layout
            (`tf.errors.InvalidArgumentError` when the restore runs in a graph).
    """
    names = ["clock", "counts", "filter", "layout", "step"]
    names += [
        f"{kind}-{group:02d}"
        for group in _GROUPS
        for kind in (*_KINDS, "filter")
    ]
    missing = [name for name in names if name not in tensors]
    if missing:
        raise CheckpointError(
            f"The checkpoint lacks {len(missing)} of {len(names)} parts of "
            f"table {table.name!r}: {', '.join(missing[:5])} ... Nothing was "
            "restored; use another checkpoint."
        )
    checks = check_layout(table, tensors["layout"])
    checks += check_filter(table, tensors["filter"])
    checks += warn_of_dropped_counts(table, tensors["filter"])
    checks += _check_counts(table, tensors)
    counts_ids = table.config.admission.filter_layout != "none"
    table_set = table.table_set
    servers = servers_of(table_set)
    if table_set.graph is not None:
        number = source_in_graph(tensors["counts"])
    of_table = TableRestore(table, number)
    # Outside of a function, nothing else orders the ops of a graph.
    with tf.control_dependencies(checks):
        begun = of_table.begin()
    with _after(begun):
        cleared = []
        for device, handle in servers:
            with tf.device(device):
                cleared.append(ops.clear(handle, table=table.name))
    failpoints.hit("table_state.after_clear")
    with _after(cleared):
        clocks = []
        for device, handle in servers:
            with tf.device(device):
                clocks.append(
                    ops.set_clock(
                        handle,
                        tensors["clock"],
                        table=table.name,
                        in_restore=True,
                    )
                )
    # Rows that were saved without times get the time of the clock.
    with _after(clocks):
        imported = []
        for shard, (device, handle) in enumerate(servers):
            for group in sharding.groups_of_shard(shard, table_set.num_shards):
                with tf.device(device):
                    imported.append(
                        ops.import_rows(
                            handle,
                            tensors[f"keys-{group:02d}"],
                            tensors[f"rows-{group:02d}"],
                            table=table.name,
                        )
                    )
                    if not counts_ids:
                        continue
                    imported.append(
                        ops.import_filter(
                            handle,
                            tensors[f"filter-{group:02d}"],
                            table=table.name,
                            group=group,
                        )
                    )
    failpoints.hit("table_state.after_import")
    with _after(imported):
        ended = of_table.end()
    failpoints.hit("table_state.after_end")
    with _after(ended):
        assigned = [
            variable.assign(tf.zeros([], tf.int64)).op
            for variable in other_ready_variables(table)
        ]
    with _after(ended + assigned), tf.device(table_set.devices[0]):
        return step_counter(table).assign(tensors["step"])


def _after(operations: Sequence[tf.Operation | None]):
    return tf.control_dependencies([op for op in operations if op is not None])


def _concat(parts: list[tf.Tensor]) -> tf.Tensor:
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=0)


def _check_counts(table: TableHandle, tensors) -> list[tf.Operation]:
    lengths = []
    for kind in _KINDS:
        for group in _GROUPS:
            tensor = tensors[f"{kind}-{group:02d}"]
            # On the tensor's device, so that no rows travel.
            with tf.compat.v1.colocate_with(tensor):
                lengths.append(tf.shape(tensor, out_type=tf.int64)[0])
    found = tf.stack(lengths)
    expected = tf.tile(tensors["counts"], [len(_KINDS)])
    message = (
        f"The checkpoint's groups of table {table.name!r} do not have the rows "
        "that were counted when it was saved. Use another checkpoint."
    )
    fits = tf.reduce_all(tf.equal(found, expected))
    if hasattr(fits, "numpy"):
        if not fits.numpy():
            raise CheckpointError(message)
        return []
    return [tf.debugging.Assert(fits, [message])]
