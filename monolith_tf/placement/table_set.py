"""Table sets: which tables live together, and on which servers.

A table set is one TensorFlow resource per server. `mt.Table`s are made in the
current set: that of the `with mt.TableSet():` block, else that of the strategy
whose scope is open, else the process's own.
"""

from __future__ import annotations

import contextvars
import functools
import numbers
import secrets
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context

from monolith_tf import ops
from monolith_tf.config.initializers import Pretrained
from monolith_tf.config.table_config import TableConfig
from monolith_tf.placement import graph_scope
from monolith_tf.placement.deltas import ShardDelta
from monolith_tf.placement.deltas import TableDelta
from monolith_tf.placement.server_calls import ServerCalls
from monolith_tf.placement.sharding import NUM_PARTITIONS
from monolith_tf.placement.table_handle import TableHandle
from monolith_tf.stock_ops import hashing

_active: contextvars.ContextVar[tuple] = contextvars.ContextVar(
    "monolith_tf_table_sets", default=()
)
lock = threading.RLock()
_WIRE_DTYPES = (tf.float32, tf.bfloat16, tf.float16)


class TableSet:
    """The tables of one model on all servers.

    Made by itself where it is needed. Make one of your own to keep two models
    apart, or to split tables in one process:

    Args:
        num_shards: Number of shards, 1 to 4096, all in this process. Under a
            ParameterServerStrategy leave it out: there is one shard a parameter
            server.
        wire_dtype: How rows and their gradients travel between workers and
            servers: float32, or half as many bytes as bfloat16 or float16,
            each float rounded to the nearest. Tables and optimizers stay as
            they are, and learning rates exact. What is beyond the largest
            float16, 65,504, becomes that; gradients below 2^-25 become 0
            there, so prefer bfloat16 unless they are scaled.

    Raises:
        TypeError: `num_shards` is not an integer, or `wire_dtype` no dtype.
        ValueError: `num_shards` is out of range, or given under a
            ParameterServerStrategy; or `wire_dtype` is another dtype; or the
            strategy has several replicas.

    Example:
    >>> import monolith_tf as mt
    >>> with mt.TableSet(num_shards=2):
    ...     table = mt.Table(mt.TableConfig("user", dim=4))
    >>> table.table_set.num_shards
    2
    """

    def __init__(
        self,
        num_shards: int | None = None,
        wire_dtype: tf.DType | str = tf.float32,
    ):
        """Chooses the devices; nothing is made on them yet."""
        self.wire_dtype = tf.as_dtype(wire_dtype)
        if self.wire_dtype not in _WIRE_DTYPES:
            raise ValueError(
                f"wire_dtype must be one of {[d.name for d in _WIRE_DTYPES]}. "
                f"Received: wire_dtype={wire_dtype!r}."
            )
        strategy = current_strategy()
        if strategy is not None:
            if num_shards is not None:
                raise ValueError(
                    "Under a ParameterServerStrategy a table set has one shard "
                    "a parameter server: leave num_shards out. Received: "
                    f"num_shards={num_shards}."
                )
            self.devices = tuple(
                f"/job:ps/replica:0/task:{task}/device:CPU:0"
                for task in range(strategy.extended._num_ps)
            )
        else:
            num_shards = 1 if num_shards is None else num_shards
            if not isinstance(num_shards, numbers.Integral):
                raise TypeError(
                    f"num_shards must be an integer from 1 to {NUM_PARTITIONS}"
                    f". Received: num_shards={num_shards!r} (of type "
                    f"{type(num_shards).__name__})."
                )
            if not 1 <= num_shards <= NUM_PARTITIONS:
                raise ValueError(
                    f"num_shards must be from 1 to {NUM_PARTITIONS}. Received: "
                    f"num_shards={num_shards}."
                )
            self.devices = _local_devices(num_shards)
        self._strategy = None if strategy is None else weakref.ref(strategy)
        self._name = f"monolith_tf/{secrets.token_hex(8)}"
        # Set in a graph that is built: all processes that build it find the
        # tables by one name, and those of other sessions are others.
        self.graph = graph_scope.building_graph()
        if self.graph is not None:
            self._name = "monolith_tf/graph"
            servers = graph_scope.server_devices()
            if servers is not None:
                self.devices = servers
            number = len(self.graph.get_collection(graph_scope.TABLE_SETS))
            self._name += f"_{number}" if number else ""
            self.graph.add_to_collection(graph_scope.TABLE_SETS, self)
        self._tables: weakref.WeakValueDictionary[str, TableHandle] = (
            weakref.WeakValueDictionary()
        )
        self._calls = ServerCalls()
        # Names of tables that were made, also of those that are gone.
        self._made: set[str] = set()
        self.handles = []
        for shard, device in enumerate(self.devices):
            with tf.init_scope(), tf.device(device):
                self.handles.append(
                    ops.table_set_handle(f"{self._name}/{shard}")
                )
        if strategy is None and self.graph is None:
            weakref.finalize(self, _destroy, self.handles).atexit = False

    @property
    def num_shards(self) -> int:
        """Number of shards."""
        return len(self.devices)

    @property
    def strategy(self):
        """The ParameterServerStrategy that the servers belong to, or None."""
        return None if self._strategy is None else self._strategy()

    @property
    def tables(self) -> list[TableHandle]:
        """The live tables, ordered by name."""
        with lock:
            return [table for _, table in sorted(self._tables.items())]

    def find(self, name: str) -> TableHandle | None:
        """Returns the live table of a name, or None."""
        return self._tables.get(name)

    def create(self, table: TableHandle) -> list:
        """Makes a table on every server; `mt.Table` calls it.

        Returns:
            In a graph, one operation a server, which makes it there.
        """
        try:
            return self._create(table)
        except tf.errors.ResourceExhaustedError:
            # Those that have the memory would keep what another refused. On
            # servers of a strategy the next table of the name sees to it.
            if self.strategy is None:
                _drop(self.devices, self.handles, table.config.name)
            raise

    def _create(self, table: TableHandle) -> list:
        config = table.config
        if self.strategy is not None and config.name in self._made:
            # Servers keep a table that went here, and a new one would go on
            # with its rows.
            _drop(self.devices, self.handles, config.name)
        self._made.add(config.name)
        in_graph = self.graph is not None
        created = []
        for shard, (device, handle) in enumerate(
            zip(self.devices, self.handles, strict=True)
        ):
            with tf.init_scope(), tf.device(device):
                create = ops.table_create(
                    handle,
                    attributes=config.op_attributes(shard, self.num_shards),
                    # A graph may run again: 0 is drawn when it does.
                    generation=0 if in_graph else new_generation(),
                )
                after = [create] if in_graph else []
                with tf.control_dependencies(after):
                    after += self._send_pretrained(config, shard, handle)
                created.append(tf.group(after) if in_graph else None)
        with lock:
            self._tables[config.name] = table
        if self.strategy is None and not in_graph:
            weakref.finalize(
                table, _drop, self.devices, list(self.handles), config.name
            ).atexit = False
        return created

    def _send_pretrained(self, config: TableConfig, shard: int, handle) -> list:
        """Gives a server the pretrained rows of the ids that it owns."""
        sent = []
        for number, segment in enumerate(config.segments):
            if not isinstance(segment.initializer, Pretrained):
                continue
            ids = segment.initializer.ids
            with context.eager_mode():
                hashes = hashing.mix64_tensor(
                    hashing.as_uint64(tf.constant(ids))
                ).numpy()
            owners = (hashes >> np.uint64(52)).astype(np.int64)
            mine = owners * self.num_shards // NUM_PARTITIONS == shard
            if not mine.any():
                continue
            sent.append(
                ops.set_pretrained(
                    handle,
                    tf.constant(ids[mine], tf.int64),
                    tf.constant(segment.initializer.rows[mine], tf.float32),
                    table=config.name,
                    segment=number,
                )
            )
        return sent

    def generations(self) -> list[int]:
        """Returns each shard's generation, an int63 drawn anew at a restore."""
        return [generation for generation, _ in self._status()]

    def cuts(self) -> list[int]:
        """Returns the cut that each shard has reached."""
        return [cut for _, cut in self._status()]

    def start_deltas(self) -> list[int]:
        """Starts to log changed ids; returns per shard the cut reached.

        Deltas hold what changes after it. Calling it again does no harm.
        """
        return [int(cut) for cut in self.ask(ops.start_deltas)]

    def take_delta(self, shard: int, acked_cut: int) -> ShardDelta:
        """Advances a shard's cut and reads what changed since `acked_cut`.

        What an earlier call handed out above `acked_cut` comes again. A cut of
        a former life of the shard raises `tf.errors.OutOfRangeError`.

        Args:
            shard: Which shard.
            acked_cut: The last cut whose delta is safe; at first what
                `start_deltas` returned.
        """
        tables = self.tables
        names = tuple(table.name for table in tables)
        dims = tuple(table.dim for table in tables)
        handle = self.handles[shard]
        taken = self._calls.call(
            ("take_delta", shard, names, dims),
            self.devices[shard],
            lambda acked: ops.take_delta(
                handle, acked, tables=names, dims=dims
            ),
            acked_cut,
        )
        return ShardDelta(
            shard=shard,
            num_shards=self.num_shards,
            generation=int(taken.generation),
            from_cut=int(taken.from_cut),
            to_cut=int(taken.to_cut),
            tables={
                table.name: TableDelta(
                    ids.numpy(), exists.numpy(), rows.numpy()
                )
                for table, ids, exists, rows in zip(
                    tables, taken.ids, taken.exists, taken.rows, strict=True
                )
            },
        )

    def ask(self, op: Callable[[tf.Tensor], Any]) -> list:
        """Asks every server the same, and leaves nothing behind there.

        Args:
            op: A function of `monolith_tf.ops` that takes a server's handle and
                returns tensors, in any structure.

        Returns:
            What each server answered.
        """
        return [
            self._calls.call((op, shard), device, functools.partial(op, handle))
            for shard, (device, handle) in enumerate(
                zip(self.devices, self.handles, strict=True)
            )
        ]

    def _status(self) -> list[tuple[int, int]]:
        return [
            (int(generation), int(cut))
            for generation, cut in self.ask(ops.table_set_status)
        ]

    def __enter__(self) -> TableSet:
        """Makes this the current table set."""
        _active.set((*_active.get(), self))
        return self

    def __exit__(self, *error) -> None:
        """Makes the set that was current before current again."""
        _active.set(_active.get()[:-1])


def active_sets() -> tuple[TableSet, ...]:
    """Returns the table sets of the open `with` blocks, innermost last."""
    return _active.get()


def new_generation() -> int:
    """Draws a generation: 1 to 2^63 - 1."""
    return secrets.randbits(63) or 1


def current_strategy():
    """Returns the open ParameterServerStrategy, or None for one process."""
    if not tf.distribute.has_strategy():
        return None
    strategy = tf.distribute.get_strategy()
    if isinstance(strategy, tf.distribute.ParameterServerStrategy):
        return strategy
    if strategy.num_replicas_in_sync > 1:
        raise ValueError(
            f"Tables can't be used under {type(strategy).__name__} with "
            f"{strategy.num_replicas_in_sync} replicas: each replica would "
            "make an optimizer step of its own. Use "
            "tf.distribute.ParameterServerStrategy, or one replica."
        )
    return None


def _local_devices(num_shards: int) -> tuple[str, ...]:
    return (tf.config.list_logical_devices("CPU")[0].name,) * num_shards


def _destroy(handles) -> None:
    # The collector may run within `with graph.as_default()`, which init_scope
    # does not leave.
    for handle in handles:
        with context.eager_mode():
            tf.raw_ops.DestroyResourceOp(
                resource=handle, ignore_lookup_error=True
            )


def _drop(devices, handles, name: str) -> None:
    for device, handle in zip(devices, handles, strict=True):
        with context.eager_mode(), tf.device(device):
            ops.table_drop(handle, name)
