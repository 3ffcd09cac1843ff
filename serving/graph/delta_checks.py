"""Checks of a delta before it is applied, in stock ops."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from monolith_tf.serving.graph.delta_status import FORMAT
from monolith_tf.serving.graph.delta_status import HEADER_FIELDS
from monolith_tf.serving.graph.delta_status import DeltaStatus
from monolith_tf.serving.graph.serving_table import ServingTable


class Check(NamedTuple):
    """One condition, with the status and message of a delta that breaks it."""

    holds: tf.Tensor
    status: DeltaStatus
    message: Callable[[], tf.Tensor]


class Verdict(NamedTuple):
    """The first broken check: int64 status and string message, scalars."""

    status: tf.Tensor
    message: tf.Tensor


def verdict(checks: Sequence[Check]) -> Verdict:
    """Returns the status and message of the first check that fails."""
    holds = tf.stack([check.holds for check in checks] + [tf.constant(False)])
    first = tf.argmin(tf.cast(holds, tf.int32), output_type=tf.int32)
    statuses = [check.status for check in checks] + [DeltaStatus.APPLIED]
    messages = [check.message for check in checks]
    messages.append(lambda: tf.constant(""))
    return Verdict(
        tf.gather(tf.constant([int(s) for s in statuses], tf.int64), first),
        tf.switch_case(first, messages),
    )


def header_fields(header: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns the scalars of a header by name, also of a malformed one.

    Args:
        header: int64 `[1, 8]`, or any `[b, k]`.
    """
    # Padded, so that reading it cannot fail before its check.
    flat = tf.concat(
        [tf.reshape(header, [-1]), tf.zeros([len(HEADER_FIELDS)], tf.int64)], 0
    )
    return {name: flat[i] for i, name in enumerate(HEADER_FIELDS)}


def stream_of(header: dict[str, tf.Tensor], num_streams: int) -> tf.Tensor:
    """Returns the index of the stream; 0 if there is no such stream."""
    shard = header["shard"]
    known = (shard >= 0) & (shard < num_streams)
    return tf.where(known, shard, tf.zeros_like(shard))


def check_delta(
    inputs: dict[str, tf.Tensor],
    *,
    tables: Sequence[ServingTable],
    dense_bytes: int,
    export_id: int,
    generations: Sequence[int],
) -> list[Check]:
    """Returns all checks that do not depend on the state.

    Args:
        inputs: Inputs of `monolith_apply_delta` by name.
        tables: Tables in the order of their names.
        dense_bytes: Bytes of all dense variables.
        export_id: Id of the export that checks.
        generations: Generation per stream, the dense stream last.
    """
    header = header_fields(inputs["header"])
    num_shards = len(generations) - 1
    checks = [_check_shape("header", inputs["header"], len(HEADER_FIELDS))]
    checks.append(_check_equal("format", header["format"], FORMAT))
    checks.append(
        Check(
            tf.equal(header["export_id"], export_id),
            DeltaStatus.UNKNOWN_EXPORT,
            lambda: _text(
                "delta is for export ",
                header["export_id"],
                f", this is export {export_id}; send the deltas of this "
                "export, or write a new export",
            ),
        )
    )
    checks.append(_check_equal("num_shards", header["num_shards"], num_shards))
    shard = header["shard"]
    checks.append(
        Check(
            (shard >= 0) & (shard <= num_shards),
            DeltaStatus.MALFORMED,
            lambda: _text(
                "shard is ",
                shard,
                f", expected 0 to {num_shards - 1} for rows or {num_shards} "
                "for dense variables",
            ),
        )
    )
    generation = tf.gather(
        tf.constant(generations, tf.int64), stream_of(header, len(generations))
    )
    checks.append(
        Check(
            tf.equal(header["generation"], generation),
            DeltaStatus.UNKNOWN_GENERATION,
            lambda: _text(
                "generation of shard ",
                shard,
                " is ",
                header["generation"],
                ", expected ",
                generation,
                "; the shard was restored or restarted after this export: "
                "write a new export",
            ),
        )
    )
    checks.append(
        Check(
            header["from_cut"] <= header["to_cut"],
            DeltaStatus.MALFORMED,
            lambda: _text(
                "from_cut ",
                header["from_cut"],
                " is above to_cut ",
                header["to_cut"],
            ),
        )
    )
    checks.append(
        Check(
            header["sequence"] >= 1,
            DeltaStatus.MALFORMED,
            lambda: _text(
                "sequence is ", header["sequence"], ", expected 1 or more"
            ),
        )
    )
    is_dense = tf.equal(shard, num_shards)
    for index, table in enumerate(tables):
        checks += _check_rows(inputs, index, table.dim, is_dense)
        checks += _check_precision(inputs, index, table)
    checks += _check_dense(inputs["dense"], dense_bytes, is_dense)
    return checks


def check_sequence(sequence: tf.Tensor, expected: tf.Tensor) -> list[Check]:
    """Returns the checks of the order: duplicates and gaps.

    Args:
        sequence: int64 scalar, sequence of the delta.
        expected: int64 scalar, next sequence of its stream.
    """
    return [
        Check(
            sequence >= expected,
            DeltaStatus.DUPLICATE,
            lambda: _text(
                "sequence ",
                sequence,
                " was applied before, expected ",
                expected,
                "; nothing changed",
            ),
        ),
        Check(
            sequence <= expected,
            DeltaStatus.GAP,
            lambda: _text(
                "sequence is ",
                sequence,
                ", expected ",
                expected,
                "; send the deltas from there on again, or write a new export",
            ),
        ),
    ]


def _check_rows(inputs, index: int, dim: int, is_dense) -> list[Check]:
    names = [f"{kind}_{index}" for kind in ("ids", "rows", "exists")]
    ids, rows, exists = (inputs[name] for name in names)
    num_ids = tf.size(ids, out_type=tf.int64)
    num_rows = tf.reduce_sum(tf.cast(tf.equal(exists, 1), tf.int64))
    num_distinct = tf.size(tf.unique(tf.reshape(ids, [-1])).y, tf.int64)
    return [
        *(
            Check(
                tf.equal(tf.shape(tensor)[0], 1),
                DeltaStatus.MALFORMED,
                _shape_message(name, tensor, "n"),
            )
            for name, tensor in zip(names, (ids, rows, exists), strict=True)
        ),
        Check(
            tf.equal(tf.size(exists, out_type=tf.int64), num_ids),
            DeltaStatus.MALFORMED,
            lambda: _text(
                f"exists_{index} has ",
                tf.size(exists),
                f" elements, expected one per id of ids_{index}: ",
                num_ids,
            ),
        ),
        Check(
            tf.reduce_all(tf.equal(exists, 0) | tf.equal(exists, 1)),
            DeltaStatus.MALFORMED,
            lambda: tf.constant(
                f"exists_{index} has elements other than 0 (tombstone) and 1 "
                "(row)"
            ),
        ),
        Check(
            tf.equal(tf.size(rows, out_type=tf.int64), num_rows * dim),
            DeltaStatus.MALFORMED,
            lambda: _text(
                f"rows_{index} has ",
                tf.size(rows),
                " floats, expected ",
                num_rows * dim,
                f": one row of {dim} per 1 in exists_{index}",
            ),
        ),
        Check(
            tf.equal(num_distinct, num_ids),
            DeltaStatus.MALFORMED,
            lambda: _text(
                f"ids_{index} has ",
                num_ids - num_distinct,
                " duplicates, expected each id once in a delta",
            ),
        ),
        Check(
            tf.logical_not(is_dense) | tf.equal(num_ids, 0),
            DeltaStatus.MALFORMED,
            lambda: _text(
                f"ids_{index} has ",
                num_ids,
                " elements in the stream of dense variables, expected 0",
            ),
        ),
    ]


def _check_precision(inputs, index: int, table: ServingTable) -> list[Check]:
    if table.packed.dtype == tf.float32:
        return []
    floats = tf.reshape(inputs[f"rows_{index}"], [-1])
    # Truncated, so that reading it cannot fail before its check.
    num_rows = tf.size(floats) // table.dim
    rows = tf.reshape(floats[: num_rows * table.dim], [num_rows, table.dim])
    fits = tf.reshape(table.packed.fits(rows), [-1])

    def message():
        first = tf.argmin(tf.cast(fits, tf.int32), output_type=tf.int32)
        return _text(
            f"rows_{index} has ",
            tf.size(fits) - tf.math.count_nonzero(fits, dtype=tf.int32),
            f" weights that table '{table.config.name}' can't keep, the first "
            "at [0, ",
            first,
            "] is ",
            tf.strings.as_string(floats[first], shortest=True),
            f"; expected rows of {table.packed.layout}, as the trainer of this "
            "export reads them: send those, or write a new export",
        )

    return [Check(tf.reduce_all(fits), DeltaStatus.MALFORMED, message)]


def _check_dense(dense, dense_bytes: int, is_dense) -> list[Check]:
    length = tf.reduce_sum(
        tf.cast(tf.strings.length(dense, unit="BYTE"), tf.int64)
    )
    return [
        Check(
            tf.equal(tf.size(dense), 1),
            DeltaStatus.MALFORMED,
            lambda: _text("dense has ", tf.size(dense), " strings, expected 1"),
        ),
        Check(
            is_dense | tf.equal(length, 0),
            DeltaStatus.MALFORMED,
            lambda: _text(
                "dense has ",
                length,
                " bytes in the stream of a shard, expected none",
            ),
        ),
        Check(
            tf.equal(length, 0) | tf.equal(length, dense_bytes),
            DeltaStatus.MALFORMED,
            lambda: _text(
                "dense has ",
                length,
                f" bytes, expected 0 or the {dense_bytes} of all dense "
                "variables",
            ),
        ),
    ]


def _check_shape(name: str, tensor: tf.Tensor, width: int) -> Check:
    return Check(
        tf.reduce_all(tf.equal(tf.shape(tensor), [1, width])),
        DeltaStatus.MALFORMED,
        _shape_message(name, tensor, str(width)),
    )


def _check_equal(name: str, value: tf.Tensor, expected: int) -> Check:
    return Check(
        tf.equal(value, expected),
        DeltaStatus.MALFORMED,
        lambda: _text(f"{name} is ", value, f", expected {expected}"),
    )


def _shape_message(name: str, tensor: tf.Tensor, width: str):
    return lambda: _text(
        f"{name} has shape [",
        tf.strings.reduce_join(tf.as_string(tf.shape(tensor)), separator=", "),
        f"], expected [1, {width}]; a server that batches must leave this "
        "model's control signatures alone",
    )


def _text(*parts) -> tf.Tensor:
    return tf.strings.join(
        [
            tf.as_string(part)
            if tf.is_tensor(part) and part.dtype != tf.string
            else part
            for part in parts
        ]
    )
