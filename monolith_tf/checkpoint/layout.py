"""Texts in a checkpoint that describe its rows and counts, and their checks.

A restore compares them before it changes anything. In a graph the texts are
known only when it runs, so each check returns the operations that make it;
elsewhere it raises at once and returns none.
"""

from __future__ import annotations

import logging
import sys

import tensorflow as tf

from monolith_tf.errors import CheckpointError
from monolith_tf.placement import sharding
from monolith_tf.placement.table_handle import TableHandle

# Separates the layout from the table's name.
_NAME = " name="
_log = logging.getLogger(__name__)


def layout(table: TableHandle) -> str:
    """Describes the rows of a table; equal on save and restore."""
    segments = " ".join(
        f"segment=(dim={segment.dim} {segment.optimizer.kind} "
        f"{','.join(segment.optimizer.slot_names) or 'none'})"
        for segment in table.config.segments
    )
    return f"format=2 {segments} groups={sharding.NUM_GROUPS}"


def named_layout(table: TableHandle) -> str:
    """Returns the layout as a checkpoint holds it, with the table's name."""
    return layout(table) + _NAME + table.name


def name_in(saved_layout: str) -> str | None:
    """Returns the table's name in the layout of a checkpoint, or None."""
    _, found, name = saved_layout.partition(_NAME)
    return name if found else None


def check_fits(
    table: TableHandle, found_layout: str, found_filter: str
) -> None:
    """Rejects rows of another layout, and counts of another admission.

    Raises:
        CheckpointError: They do not fit the table.
    """
    # Constants of a graph would be checked when it runs.
    with tf.init_scope():
        check_layout(table, tf.constant(found_layout))
        check_filter(table, tf.constant(found_filter))


def check_layout(table: TableHandle, found: tf.Tensor) -> list[tf.Operation]:
    """Rejects rows of another layout.

    Raises:
        CheckpointError: The rows do not fit the table.
    """
    expected = layout(table)
    message = (
        f"The checkpoint's rows do not fit table {table.name!r}, which has "
        f"{expected!r}. Restore into a table of the config that was saved."
    )
    if hasattr(found, "numpy"):
        text = found.numpy().decode()
        if text.partition(_NAME)[0] != expected:
            raise CheckpointError(f"{message} The checkpoint has {text!r}.")
        return []
    without_name = tf.strings.regex_replace(
        found, f"(?s){_NAME}.*$", "", replace_global=False
    )
    return [
        tf.debugging.Assert(
            tf.equal(without_name, expected),
            [message, "The checkpoint has", found],
        )
    ]


def check_filter(table: TableHandle, found: tf.Tensor) -> list[tf.Operation]:
    """Rejects counts of another admission; a checkpoint without counts fits.

    Raises:
        CheckpointError: The counts do not fit the table.
    """
    expected = table.config.admission.filter_layout
    if expected == "none":
        return []
    message = (
        f"The checkpoint's counts of ids do not fit the admission of table "
        f"{table.name!r}, which counts as {expected!r}. Restore into a table "
        "of the admission that was saved."
    )
    if hasattr(found, "numpy"):
        if found.numpy().decode() not in ("none", expected):
            raise CheckpointError(
                f"{message} The checkpoint has {found.numpy().decode()!r}."
            )
        return []
    fits = tf.reduce_any(tf.equal(found, ["none", expected]))
    return [tf.debugging.Assert(fits, [message, "The checkpoint has", found])]


def warn_of_dropped_counts(
    table: TableHandle, found: tf.Tensor
) -> list[tf.Operation]:
    """Warns that a table without counters drops the counts of a checkpoint."""
    if table.config.admission.filter_layout != "none":
        return []
    message = (
        f"table {table.name!r} admits ids without counting them: the "
        "checkpoint's counts of ids without rows are dropped"
    )
    if hasattr(found, "numpy"):
        if found.numpy().decode() != "none":
            _log.warning("%s", message)
        return []
    return [
        tf.cond(
            tf.equal(found, "none"),
            tf.no_op,
            lambda: tf.print("WARNING:", message, output_stream=sys.stderr),
        )
    ]
