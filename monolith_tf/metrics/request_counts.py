"""Counts of the updates per server."""

from __future__ import annotations

import dataclasses

from monolith_tf import ops
from monolith_tf.placement.registry import tables_of
from monolith_tf.placement.table_set import TableSet
from monolith_tf.placement.table_set import call_servers


@dataclasses.dataclass(frozen=True)
class RequestCounts:
    """Updates of each server since the tables were made.

    Attributes:
        applied: Per server, updates that changed it.
        repeated: Per server, updates dropped because their `mt.request_id` was
            known.
        refused: Per server, updates refused because their `mt.request_id` was
            too old to know.
    """

    applied: tuple[int, ...]
    repeated: tuple[int, ...]
    refused: tuple[int, ...]

    @property
    def partial(self) -> int:
        """Steps that reached some but not all servers, while none is running.

        A lower bound: two steps that are missing on different servers cancel
        out.
        """
        return max(self.applied) - min(self.applied)


def request_counts(tables) -> RequestCounts:
    """Reads the number of updates of each server, one call per server.

    Every step of `fit` is one update of each server. So `partial` counts the
    unfinished steps of lost workers. The largest count minus the optimizer's
    `iterations` is the number of steps that updated rows but not dense weights.

    Args:
        tables: `mt.TableSet`; or a Keras model or layer, an `mt.Table`, or a
            list of these, with at least one table.

    Raises:
        ValueError: `tables` has no table.
        tf.errors.FailedPreconditionError: A server restarted without tables.

    Example:
    >>> import monolith_tf as mt
    >>> with mt.TableSet(num_shards=2):
    ...     table = mt.Table(mt.TableConfig("movie", dim=1))
    >>> table.apply_gradients([1, 2, 3], [[0.1]] * 3)
    >>> counts = mt.metrics.request_counts(table)
    >>> counts.applied, counts.repeated, counts.partial
    ((1, 1), (0, 0), 0)
    """
    if isinstance(tables, TableSet):
        table_set = tables
    else:
        found = tables_of(tables)
        if not found:
            raise ValueError(
                f"request_counts needs a model with a table. Received: "
                f"{tables!r}."
            )
        table_set = found[0].table_set
    answers = call_servers(table_set, ops.request_counts)
    counts = [answer.numpy().tolist() for answer in answers]
    return RequestCounts(*zip(*counts, strict=True))
