"""Table sets: which tables live together, and on which servers.

A table set is one TensorFlow resource per server. A new `mt.Table` belongs to
the current set: that of the `with mt.TableSet():` block, else that of the
strategy whose scope is open, else the default set of the process.
"""

from __future__ import annotations

import contextvars
import functools
import numbers
import secrets
import threading
import weakref
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import tensorflow as tf
from tensorflow.python.eager import context

from monolith_tf import ops
from monolith_tf.config.table_config import TableConfig
from monolith_tf.placement import graph_scope
from monolith_tf.placement import sharding
from monolith_tf.placement.deltas import ShardDelta
from monolith_tf.placement.deltas import TableDelta
from monolith_tf.placement.pretrained import send_pretrained
from monolith_tf.placement.server_calls import ServerCalls
from monolith_tf.placement.strategies import current_strategy
from monolith_tf.placement.table_handle import TableHandle

_active: contextvars.ContextVar[tuple] = contextvars.ContextVar(
    "monolith_tf_table_sets", default=()
)
lock = threading.RLock()
_live: weakref.WeakSet[TableSet] = weakref.WeakSet()
_MAX_SHARDS = sharding.NUM_PARTITIONS
_WIRE_DTYPES = (tf.float32, tf.bfloat16, tf.float16)


class Server(NamedTuple):
    """One server of a table set: a device and the resource on it."""

    device: str
    handle: tf.Tensor


class TableSet:
    """The tables of one model on all servers.

    Created implicitly on first use. Create one explicitly to keep two models
    apart, or to split tables in one process.

    Args:
        num_shards: Number of shards, 1 to 4096, all in this process. Omit it
            under a ParameterServerStrategy, which has one shard per parameter
            server.
        wire_dtype: Dtype of rows and their gradients between workers and
            servers: float32, or bfloat16 or float16 for half the bytes, each
            float rounded to the nearest. Tables, optimizers and learning rates
            keep float32. float16 saturates at 65,504 and rounds gradients
            below 2^-25 to 0, so prefer bfloat16 unless gradients are scaled.
        max_log_bytes: Limit of the log of changed ids per server, in bytes. A
            changed id takes 8 bytes until it is taken, then 16 until it is
            acknowledged. Beyond the limit the server drops the log, counts that
            (`TableStats.num_dropped_logs`) and starts it again: a pusher that
            comes back writes a new export. Raise it if more than 16 million
            rows change while an export is written and loaded.

    Raises:
        TypeError: `num_shards` or `max_log_bytes` is not an integer, or
            `wire_dtype` is not a dtype.
        ValueError: A number is out of range; `num_shards` is given under a
            ParameterServerStrategy; `wire_dtype` is not supported; or the
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
        max_log_bytes: int = ops.MAX_LOG_BYTES,
    ):
        """Chooses the devices; tables are created later."""
        if not isinstance(max_log_bytes, numbers.Integral):
            raise TypeError(
                "max_log_bytes must be an integer. Received: max_log_bytes="
                f"{max_log_bytes!r} (of type {type(max_log_bytes).__name__})."
            )
        if not 0 <= max_log_bytes < 1 << 63:
            raise ValueError(
                "max_log_bytes must be from 0 to 2^63 - 1. Received: "
                f"max_log_bytes={max_log_bytes}."
            )
        self.max_log_bytes = int(max_log_bytes)
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
                    "per parameter server: leave num_shards out. Received: "
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
                    f"num_shards must be an integer from 1 to {_MAX_SHARDS}. "
                    f"Received: num_shards={num_shards!r} (of type "
                    f"{type(num_shards).__name__})."
                )
            if not 1 <= num_shards <= _MAX_SHARDS:
                raise ValueError(
                    f"num_shards must be from 1 to {_MAX_SHARDS}. Received: "
                    f"num_shards={num_shards}."
                )
            self.devices = _local_devices(num_shards)
        self._strategy = None if strategy is None else weakref.ref(strategy)
        self._name = f"monolith_tf/{secrets.token_hex(8)}"
        # Set while a graph is built: all processes that build it find the
        # tables by one name. Other sessions have other tables.
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
        # Names of the tables created so far, dropped ones included.
        self._created: set[str] = set()
        servers = []
        for shard, device in enumerate(self.devices):
            with tf.init_scope(), tf.device(device):
                handle = ops.table_set_handle(f"{self._name}/{shard}")
            servers.append(Server(device, handle))
        self._servers = tuple(servers)
        if strategy is None and self.graph is None:
            weakref.finalize(self, _destroy, self._servers).atexit = False
        with lock:
            _live.add(self)

    @property
    def name(self) -> str:
        """Name on the servers, where "/" and the shard follow."""
        return self._name

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

    def generations(self) -> list[int]:
        """Returns each shard's generation, an int63 that a restore redraws.

        Raises:
            tf.errors.AbortedError: The tables are being restored.
        """
        return [generation for generation, _ in self._status()]

    def cuts(self) -> list[int]:
        """Returns the cut that each shard has reached."""
        return [cut for _, cut in self._status()]

    def clocks(self, table_name: str) -> list[tuple[int, int]]:
        """Returns the clock of one table on each shard.

        Args:
            table_name: Name of a table of the set.

        Returns:
            Per shard the number of the latest update and the latest event time
            in seconds since the epoch. Until the next restore, rows read later
            include that update.
        """
        return [
            (int(step), int(event_time))
            for step, event_time in call_servers(self, _read_clock(table_name))
        ]

    def start_deltas(self) -> list[int]:
        """Starts to log changed ids; returns the cut of each shard.

        Deltas hold the changes after that cut. Repeated calls are harmless.
        Each server logs up to `max_log_bytes`.
        """
        start = _start_deltas(self.max_log_bytes)
        return [int(cut) for cut in call_servers(self, start)]

    def stop_deltas(self) -> None:
        """Stops to log changed ids and frees the logs.

        Call it when no pusher will take the deltas of an export. A pusher then
        needs a new export.
        """
        for device, handle in self._servers:
            with tf.device(device):
                ops.stop_deltas(handle)

    def take_delta(self, shard: int, acked_cut: int) -> ShardDelta:
        """Advances a shard's cut and reads the changes since `acked_cut`.

        Changes after `acked_cut` that an earlier call returned are returned
        again, so a lost reply loses nothing.

        Args:
            shard: Number of the shard.
            acked_cut: The last cut whose delta is safe; at first the result of
                `start_deltas`.

        Raises:
            tf.errors.OutOfRangeError: The cut is of a former life of the shard.
        """
        tables = self.tables
        names = tuple(table.name for table in tables)
        dims = tuple(table.dim for table in tables)
        device, handle = self._servers[shard]
        taken = self._calls.call(
            ("take_delta", shard, names, dims),
            device,
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
                table.name: TableDelta.of_op(ids, exists, rows)
                for table, ids, exists, rows in zip(
                    tables, taken.ids, taken.exists, taken.rows, strict=True
                )
            },
        )

    def abandon_restore(self) -> None:
        """Ends a restore that failed half-way, with empty tables.

        A failed restore leaves the tables refused, because they are neither
        what they were nor what was saved. Either restore again, or call this to
        go on without rows. Dense variables and step counts do not change.
        Tables that are not being restored keep their rows and get a new
        generation.

        Raises:
            ValueError: The tables belong to a graph, whose initializers do the
                same.
        """
        if self.graph is not None:
            raise ValueError(
                "abandon_restore needs tables that are used eagerly. Received: "
                "tables of a tf.Graph. Run its initializers instead, which "
                "empty the tables."
            )
        for device, handle in self._servers:
            with tf.device(device):
                ops.abandon_restore(handle, new_generation())

    def _status(self) -> list[tuple[int, int]]:
        return [
            (int(generation), int(cut))
            for generation, cut in call_servers(self, ops.table_set_status)
        ]

    def __enter__(self) -> TableSet:
        """Makes this the current table set."""
        _active.set((*_active.get(), self))
        return self

    def __exit__(self, *error) -> None:
        """Makes the previous table set current again."""
        _active.set(_active.get()[:-1])


def servers_of(table_set: TableSet) -> tuple[Server, ...]:
    """Returns the servers of a table set, one per shard."""
    return table_set._servers


def call_servers(
    table_set: TableSet, op: Callable[[tf.Tensor], Any]
) -> list[Any]:
    """Runs an op on every server without retaining kernels there.

    Args:
        table_set: The table set.
        op: A function of `monolith_tf.ops` that takes a server's handle and
            returns tensors, in any structure. Pass the same object each time:
            a function is traced per object.

    Returns:
        The result of each server.
    """
    return [
        table_set._calls.call(
            (op, shard), server.device, functools.partial(op, server.handle)
        )
        for shard, server in enumerate(table_set._servers)
    ]


def call_server(
    table_set: TableSet,
    shard: int,
    op: Callable[..., Any],
    *numbers: int,
    texts: Sequence[str | bytes] = (),
) -> Any:
    """Calls op(handle, *numbers, *texts) on one server of a table set.

    Args:
        table_set: The table set.
        shard: Number of the server.
        op: As in `call_servers`, with one int64 scalar per element of `numbers`
            and one string scalar per element of `texts`.
        *numbers: Arguments of `op`.
        texts: Further arguments of `op`.

    Returns:
        What `op` returns, in the memory of this process.
    """
    server = table_set._servers[shard]
    return table_set._calls.call(
        (op, shard),
        server.device,
        functools.partial(op, server.handle),
        *numbers,
        texts=texts,
    )


def belongs_to(table_set: TableSet, strategy) -> bool:
    """Returns True if a table set was made under this strategy (or None).

    A set whose strategy is gone belongs to no strategy that is open, and not
    to None either.
    """
    if strategy is None:
        return table_set._strategy is None
    return table_set.strategy is strategy


def live_table(table_set: TableSet, name: str) -> TableHandle | None:
    """Returns the live table of a name, or None."""
    return table_set._tables.get(name)


def create_table(table_set: TableSet, table: TableHandle) -> list:
    """Creates a table on every server and registers it in the set.

    Returns:
        In a graph one operation per server, which creates the table there.
    """
    name = table.config.name
    servers = table_set._servers
    if table_set.strategy is not None and name in table_set._created:
        # Servers keep a deleted table, and a new one would continue with its
        # rows.
        _drop(servers, name)
    table_set._created.add(name)
    try:
        created = _create_on_servers(table_set, table.config)
    except tf.errors.ResourceExhaustedError:
        # Servers that had the memory would keep a table that another refused.
        # Under a strategy, the next table of the name drops them.
        if table_set.strategy is None:
            _drop(servers, name)
        raise
    with lock:
        table_set._tables[name] = table
    if table_set.strategy is None and table_set.graph is None:
        weakref.finalize(table, _drop, servers, name).atexit = False
    return created


def _create_on_servers(table_set: TableSet, config: TableConfig) -> list:
    in_graph = table_set.graph is not None
    created = []
    for shard, (device, handle) in enumerate(table_set._servers):
        with tf.init_scope(), tf.device(device):
            create = ops.table_create(
                handle,
                attributes=config.op_attributes(shard, table_set.num_shards),
                # A graph may run again: 0 is drawn when it does.
                generation=0 if in_graph else new_generation(),
            )
            after = [create] if in_graph else []
            with tf.control_dependencies(after):
                after += send_pretrained(
                    handle, config, shard, table_set.num_shards
                )
            created.append(tf.group(after) if in_graph else None)
    return created


def live_sets() -> list[TableSet]:
    """Returns the table sets of this process."""
    with lock:
        return list(_live)


def active_sets() -> tuple[TableSet, ...]:
    """Returns the table sets of the open `with` blocks, innermost last."""
    return _active.get()


def new_generation() -> int:
    """Draws a generation: 1 to 2^63 - 1."""
    return secrets.randbits(63) or 1


def _local_devices(num_shards: int) -> tuple[str, ...]:
    return (tf.config.list_logical_devices("CPU")[0].name,) * num_shards


def _destroy(servers: tuple[Server, ...]) -> None:
    # The collector may run within `with graph.as_default()`, which init_scope
    # does not leave.
    for server in servers:
        with context.eager_mode():
            tf.raw_ops.DestroyResourceOp(
                resource=server.handle, ignore_lookup_error=True
            )


def _drop(servers: tuple[Server, ...], name: str) -> None:
    for device, handle in servers:
        with context.eager_mode(), tf.device(device):
            ops.table_drop(handle, name)


@functools.cache
def _read_clock(table_name: str):
    # One object per name, because `call_servers` traces per object.
    return functools.partial(ops.read_clock, table=table_name)


@functools.cache
def _start_deltas(max_log_bytes: int):
    # One object per limit, for the same reason.
    return functools.partial(ops.start_deltas, max_log_bytes=max_log_bytes)
