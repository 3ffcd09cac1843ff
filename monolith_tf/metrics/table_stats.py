"""Table statistics: rows, evictions, bytes, probes."""

from __future__ import annotations

import dataclasses
import functools
import textwrap
from collections.abc import Iterator
from typing import Any

from monolith_tf import ops
from monolith_tf.placement.registry import tables_of
from monolith_tf.placement.table_set import TableSet
from monolith_tf.placement.table_set import call_servers


def _statistic(kind: str, unit: str, text: str) -> Any:
    """Declares a statistic: a field of `TableStats` with its metadata."""
    metadata = {"kind": kind, "unit": unit, "help": text}
    return dataclasses.field(metadata=metadata)


_gauge = functools.partial(_statistic, "gauge")
_counter = functools.partial(_statistic, "counter")


def _documented(cls: type) -> type:
    """Writes the fields of a class of statistics into its docstring."""
    lines = []
    for field in dataclasses.fields(cls):
        text = f"{field.name}: {field.metadata['help']}"
        lines += textwrap.wrap(
            text, 80, initial_indent=" " * 8, subsequent_indent=" " * 12
        )
    cls.__doc__ = cls.__doc__.replace(
        "    Example:",
        "    Attributes:\n" + "\n".join(lines) + "\n\n    Example:",
    )
    return cls


@_documented
@dataclasses.dataclass(frozen=True)
class TableStats:
    """Statistics of one table, summed over its servers.

    A gauge is a current number; a counter counts since the table was created on
    a server. Each field has metadata: "kind" ("gauge" or "counter"), "unit" and
    "help".

    Example:
    >>> import monolith_tf as mt
    >>> table = mt.Table(mt.TableConfig("movie", dim=2))
    >>> table.apply_gradients([7, 8], [[0.1, 0.2], [0.3, 0.4]])
    >>> stats = table.stats()
    >>> stats.num_rows, stats.num_admitted, stats.num_expired
    (2, 2, 0)
    """

    # The fields of ops/cc/table/table_stats.h, in their order: MonolithStats
    # returns the numbers in it.
    num_rows: int = _gauge("rows", "Ids with a row.")
    num_counted: int = _gauge(
        "ids", "Ids that are counted one by one and not admitted."
    )
    num_admitted: int = _counter("rows", "Rows inserted by updates.")
    num_written: int = _counter(
        "rows", "Rows inserted by assignments and restores."
    )
    num_expired: int = _counter(
        "rows", "Rows evicted because their time to live was over."
    )
    num_capped: int = _counter("rows", "Rows evicted by the capacity limit.")
    num_removed: int = _counter("rows", "Rows removed by a call.")
    num_rejected: int = _counter(
        "updates", "Updates dropped because the id was not admitted."
    )
    num_bad_gradients: int = _counter(
        "updates",
        "Updates dropped because an element of the gradient was not finite, or "
        "was larger than 2^48 (2^48 / beta for a precision `OneBit`, whose "
        "derivative is up to beta).",
    )
    num_future_times: int = _counter(
        "updates",
        "Event times that were not believed, because they were more than "
        "`Eviction.max_future_seconds` ahead of the clocks.",
    )
    num_dropped_logs: int = _counter(
        "logs",
        "Times that a server dropped its log of changed ids, which had reached "
        "`TableSet.max_log_bytes`.",
    )
    row_bytes: int = _gauge(
        "bytes", "Bytes of the rows, with optimizer slots and headers."
    )
    arena_bytes: int = _gauge(
        "bytes", "Bytes of memory for rows, with free places."
    )
    index_bytes: int = _gauge("bytes", "Bytes of the index.")
    counter_bytes: int = _gauge(
        "bytes", "Bytes of the counters of ids that are not admitted."
    )
    sketch_bytes: int = _gauge(
        "bytes", "Bytes of the sketch of ids that are not admitted."
    )
    log_bytes: int = _gauge("bytes", "Bytes of the logs of changed ids.")
    pretrained_bytes: int = _gauge(
        "bytes",
        "Bytes of the rows of `mt.initializers.Pretrained` that ids start "
        "from, with their index.",
    )
    pool_bytes: int = _gauge(
        "bytes",
        "Resident bytes of the pool, the 2 MiB pages that hold rows, index and "
        "counters. The pool does not hold pieces below 16 KiB, as of a small "
        "table, nor pieces of 2 MiB and more, which have memory of their own.",
    )
    idle_bytes: int = _gauge(
        "bytes",
        "Bytes of `pool_bytes` that hold nothing now: reserved for the rows of "
        "`initial_capacity`, or not yet returned to the system.",
    )
    huge_page_bytes: int = _gauge(
        "bytes",
        "Bytes of `pool_bytes` that lie in huge pages; 0 if not known.",
    )
    index_entries: int = _gauge("entries", "Entries of the index.")
    index_capacity: int = _gauge(
        "entries", "Entries that the index has room for."
    )
    index_stash: int = _gauge("entries", "Entries that found no slot.")
    probed_entries: int = _gauge("entries", "Entries in a sample of the index.")
    probed_in_first: int = _gauge(
        "entries", "Entries of the sample that lie in their first bucket."
    )

    @property
    def memory_bytes(self) -> int:
        """Resident bytes of the table.

        The sum of rows with free places, index, counters, sketch, logs,
        pretrained rows and `idle_bytes`. It is at least `pool_bytes`, and has
        the pages that `initial_capacity` reserves.
        """
        return (
            self.arena_bytes
            + self.index_bytes
            + self.counter_bytes
            + self.sketch_bytes
            + self.log_bytes
            + self.pretrained_bytes
            + self.idle_bytes
        )

    @property
    def load_factor(self) -> float:
        """Share of the index's slots that are taken, 0 to 1."""
        return self.index_entries / max(1, self.index_capacity)

    @property
    def huge_page_share(self) -> float:
        """Share of the pool that lies in huge pages, 0 to 1."""
        return self.huge_page_bytes / max(1, self.pool_bytes)

    @property
    def mean_probes(self) -> float:
        """Mean number of buckets that a lookup of a row reads, 1 to 2."""
        if not self.probed_entries:
            return 1.0
        return 2.0 - self.probed_in_first / self.probed_entries


def stats(tables) -> dict[str, TableStats]:
    """Reads the statistics of tables, in one call per server.

    Args:
        tables: `mt.TableSet`; or a Keras model or layer, an `mt.Table`, or a
            list of these.

    Returns:
        `TableStats` by the name of the table, over all servers.

    Raises:
        tf.errors.FailedPreconditionError: A server came back without tables.

    Example:
    >>> import monolith_tf as mt
    >>> with mt.TableSet() as tables:
    ...     user = mt.Table(mt.TableConfig("user", dim=2))
    >>> mt.metrics.stats(tables)["user"].num_rows
    0
    """
    if isinstance(tables, TableSet):
        table_set, wanted = tables, None
    else:
        found = tables_of(tables)
        if not found:
            return {}
        table_set, wanted = found[0].table_set, {t.name for t in found}
    fields = [field.name for field in dataclasses.fields(TableStats)]
    sums: dict[str, list[int]] = {}
    for names, numbers in call_servers(table_set, ops.stats):
        for name, row in zip(names.numpy(), numbers.numpy(), strict=True):
            total = sums.setdefault(name.decode(), [0] * len(fields))
            for i, number in enumerate(row):
                total[i] += int(number)
    return {
        name: TableStats(**dict(zip(fields, total, strict=True)))
        for name, total in sorted(sums.items())
        if wanted is None or name in wanted
    }


class StatsCollector:
    """A Prometheus collector of the statistics of tables.

    Reads them from the servers when it is scraped.

    Args:
        tables: What `mt.metrics.stats` takes.

    Example:
    >>> import monolith_tf as mt
    >>> import prometheus_client
    >>> table = mt.Table(mt.TableConfig("movie", dim=2))
    >>> registry = prometheus_client.CollectorRegistry()
    >>> registry.register(mt.metrics.StatsCollector(table))
    >>> registry.get_sample_value("monolith_table_num_rows",
    ...                           {"table": "movie"})
    0.0
    """

    def __init__(self, tables):
        """Reads nothing yet."""
        self._tables = tables

    def describe(self) -> list:
        """Describes nothing, so that registering does not call the servers."""
        return []

    def collect(self) -> Iterator:
        """Yields one family of metrics per statistic."""
        from prometheus_client import core

        families = {
            "gauge": core.GaugeMetricFamily,
            "counter": core.CounterMetricFamily,
        }
        numbers_of = stats(self._tables)
        for field in dataclasses.fields(TableStats):
            metric = families[field.metadata["kind"]](
                f"monolith_table_{field.name}",
                field.metadata["help"],
                labels=["table"],
            )
            for table, numbers in numbers_of.items():
                metric.add_metric([table], float(getattr(numbers, field.name)))
            yield metric
