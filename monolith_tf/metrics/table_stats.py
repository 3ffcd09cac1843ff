"""What tables tell about themselves: rows, evictions, bytes, probes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from monolith_tf import ops
from monolith_tf.placement.registry import tables_of
from monolith_tf.placement.table_set import TableSet

# What each number is, in words; the order is that of `ops.STATS`.
_GAUGES = {
    "num_rows": "Ids with a row.",
    "num_counted": "Ids that are counted one by one and not admitted.",
    "row_bytes": "Bytes of the rows, with slots and headers.",
    "arena_bytes": "Bytes of memory for rows, free places included.",
    "index_bytes": "Bytes of the index.",
    "counter_bytes": "Bytes of the counters of ids that are not admitted.",
    "sketch_bytes": "Bytes of the sketch of ids that are not admitted.",
    "log_bytes": "Bytes of the logs of changed ids.",
    "pretrained_bytes": "Bytes of pretrained rows that ids start from.",
    "pool_bytes": "Bytes of pages that rows, index, counters are cut from.",
    "idle_bytes": "Of pool_bytes, those that hold nothing.",
    "huge_page_bytes": "Of pool_bytes, those in huge pages.",
    "index_entries": "Entries of the index.",
    "index_slots": "Slots of the index.",
    "index_stash": "Entries that found no slot.",
    "probed_entries": "Entries of a sample of the index.",
    "probed_in_first": "Of these, entries in their first bucket.",
}
_COUNTERS = {
    "num_admitted": "Rows made by updates.",
    "num_written": "Rows made by assignments and restores.",
    "num_expired": "Rows that went because their time ran out.",
    "num_capped": "Rows that went because there were too many.",
    "num_removed": "Rows that were removed by a call.",
    "num_rejected": "Updates dropped because the id was not admitted.",
    "num_bad_gradients": "Updates dropped because of NaN, Inf or > 2^48.",
}


@dataclasses.dataclass(frozen=True)
class TableStats:
    """Numbers of one table, summed over its servers.

    Counts of events start when the table is made on a server.

    Attributes:
        num_rows: Ids with a row.
        num_counted: Ids that are counted one by one and not admitted.
        num_admitted: Rows made by updates.
        num_written: Rows made by assignments and restores.
        num_expired: Rows that went because their time ran out.
        num_capped: Rows that went because there were too many.
        num_removed: Rows that were removed by a call.
        num_rejected: Updates dropped because the id was not admitted.
        num_bad_gradients: Updates dropped because an element of the gradient
            was not finite, or larger than 2^48 (than 2^48 / beta for a
            precision `OneBit`, by whose beta it may grow).
        row_bytes: Bytes of the rows, with slots and headers.
        arena_bytes: Bytes of memory for rows, free places included.
        index_bytes: Bytes of the index.
        counter_bytes: Bytes of the counters of ids that are not admitted.
        sketch_bytes: Bytes of the sketch of ids that are not admitted.
        log_bytes: Bytes of the logs of changed ids.
        pretrained_bytes: Bytes of the rows of `mt.initializers.Pretrained`
            that ids start from, with their index.
        pool_bytes: Resident bytes of the pool: the 2 MiB pages that rows, index
            and counters are cut from. Not of small pieces (below 16 KiB, as
            long as a table is small) nor of those of 2 MiB and more, which have
            memory of their own.
        idle_bytes: Of `pool_bytes`, those that hold nothing now: kept for the
            rows of `initial_capacity`, or not yet given back.
        huge_page_bytes: Of `pool_bytes`, those in huge pages; 0 if not known.
        index_entries: Entries of the index.
        index_slots: Slots of the index.
        index_stash: Entries that found no slot.
        probed_entries: Entries of a sample of the index.
        probed_in_first: Of these, entries in their first bucket.

    Example:
    >>> import monolith_tf as mt
    >>> table = mt.Table(mt.TableConfig("movie", dim=2))
    >>> table.apply_gradients([7, 8], [[0.1, 0.2], [0.3, 0.4]])
    >>> stats = table.stats()
    >>> stats.num_rows, stats.num_admitted, stats.num_expired
    (2, 2, 0)
    """

    num_rows: int
    num_counted: int
    num_admitted: int
    num_written: int
    num_expired: int
    num_capped: int
    num_removed: int
    num_rejected: int
    num_bad_gradients: int
    row_bytes: int
    arena_bytes: int
    index_bytes: int
    counter_bytes: int
    sketch_bytes: int
    log_bytes: int
    pretrained_bytes: int
    pool_bytes: int
    idle_bytes: int
    huge_page_bytes: int
    index_entries: int
    index_slots: int
    index_stash: int
    probed_entries: int
    probed_in_first: int

    @property
    def memory_bytes(self) -> int:
        """Resident bytes of all that the table has.

        Rows with free places, index, counters, sketch, logs, pretrained rows,
        and `idle_bytes`; so it is no less than `pool_bytes`, and counts the
        pages that `initial_capacity` keeps ready.
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
        return self.index_entries / max(1, self.index_slots)

    @property
    def huge_page_share(self) -> float:
        """Share of the memory that lies in huge pages, 0 to 1."""
        return self.huge_page_bytes / max(1, self.pool_bytes)

    @property
    def mean_probes(self) -> float:
        """Buckets that a lookup of a row looks at, on average: 1 to 2."""
        if not self.probed_entries:
            return 1.0
        return 2.0 - self.probed_in_first / self.probed_entries


def stats(tables) -> dict[str, TableStats]:
    """Reads the numbers of tables, one call a server.

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
    sums: dict[str, list[int]] = {}
    for names, numbers in table_set.ask(ops.stats):
        for name, row in zip(names.numpy(), numbers.numpy(), strict=True):
            total = sums.setdefault(name.decode(), [0] * len(ops.STATS))
            for i, number in enumerate(row):
                total[i] += int(number)
    return {
        name: TableStats(**dict(zip(ops.STATS, total, strict=True)))
        for name, total in sorted(sums.items())
        if wanted is None or name in wanted
    }


class StatsCollector:
    """A Prometheus collector of the numbers of tables.

    Asks the servers when it is scraped.

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
        """Asks for nothing yet."""
        self._tables = tables

    def describe(self) -> list:
        """Says nothing, so that registering does not ask the servers."""
        return []

    def collect(self) -> Iterator:
        """Yields one family of metrics a number."""
        from prometheus_client import core

        numbers_of = stats(self._tables)
        for names, family in (
            (_GAUGES, core.GaugeMetricFamily),
            (_COUNTERS, core.CounterMetricFamily),
        ):
            for name, text in names.items():
                metric = family(
                    f"monolith_table_{name}", text, labels=["table"]
                )
                for table, numbers in numbers_of.items():
                    metric.add_metric([table], float(getattr(numbers, name)))
                yield metric
