"""Which chief writes to the servers: it frees what older chiefs left there."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable

import tensorflow as tf

from monolith_tf import ops
from monolith_tf.placement.table_set import TableSet
from monolith_tf.placement.table_set import call_server
from monolith_tf.placement.table_set import live_sets

# Tells this process from other chiefs.
WRITER = secrets.randbits(63)
_log = logging.getLogger(__name__)


def fence_older(table_sets: Iterable[TableSet], epoch: int) -> int:
    """Makes this process the writer of the servers of table sets.

    The table sets of older chiefs are freed, so that their requests fail. Those
    of this process stay. Table sets without parameter servers are left out.

    Args:
        table_sets: The table sets.
        epoch: Epoch of this chief, higher than that of every older one.

    Returns:
        The number of freed table sets on all servers.

    Raises:
        tf.errors.AbortedError: Another chief has an epoch that is not lower.
    """
    num_freed = num_bytes = 0
    fenced: set[str] = set()
    for table_set in table_sets:
        if table_set.strategy is None:
            continue
        for shard, device in enumerate(table_set.devices):
            if device in fenced:
                continue
            fenced.add(device)
            kept = [f"{other.name}/{shard}" for other in live_sets()]
            freed = call_server(
                table_set, shard, _fence, epoch, WRITER, texts=kept
            )
            num_freed += int(freed[0])
            num_bytes += int(freed[1])
    if num_freed:
        _log.info(
            "Epoch %d: freed %d table sets of older chiefs, %d bytes.",
            epoch,
            num_freed,
            num_bytes,
        )
    return num_freed


def adopt(table_set: TableSet, shard: int, generation: int, epoch: int) -> bool:
    """Continues the rows that an older chief left on a server.

    Args:
        table_set: The table set, created.
        shard: The shard.
        generation: Generation of the rows there.
        epoch: Epoch of this chief.

    Returns:
        True if the shard now has these rows, with their generation; False if
        the server does not have them, or not with equal tables.

    Raises:
        tf.errors.AbortedError: As in `fence_older`.
    """
    return bool(
        call_server(table_set, shard, _adopt, generation, epoch, WRITER)
    )


def _fence(handle, epoch, writer, *kept):
    del handle
    return ops.fence_writers(epoch, writer, tf.stack(kept))


def _adopt(handle, generation, epoch, writer):
    return ops.adopt_table_set(handle, generation, epoch, writer)
