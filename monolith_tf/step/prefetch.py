"""Prefetched lookups: reads that are sent before the step that uses them."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
from collections.abc import Callable
from collections.abc import Iterator

import tensorflow as tf

from monolith_tf import ops
from monolith_tf.errors import ReadAheadError

_recording: contextvars.ContextVar[_Recording | None] = contextvars.ContextVar(
    "monolith_tf_recording_reads", default=None
)
_ready: contextvars.ContextVar[list[RowRead] | None] = contextvars.ContextVar(
    "monolith_tf_ready_reads", default=None
)


@dataclasses.dataclass(frozen=True)
class RowRead:
    """One lookup on a table set, and the answers of its servers.

    Attributes:
        table_set: `mt.TableSet`.
        tables: The tables that were read.
        features: The features, with the ids of the batch.
        feature_tables: Per feature the position of its table in `tables`.
        packed: Per shard the int64 input of `ops.lookup`.
        positions: Per feature, for `ops.combine`.
        shard_rows: Per shard float32, flat.
    """

    table_set: object
    tables: list
    features: list[ops.FeatureBatch]
    feature_tables: list[int]
    packed: list[tf.Tensor]
    positions: list[tf.Tensor]
    shard_rows: list[tf.Tensor]

    def is_for(self, table_set, tables, features, feature_tables) -> bool:
        """Returns True if another read differs only in the ids."""
        return (
            self.table_set is table_set
            and [id(table) for table in self.tables]
            == [id(table) for table in tables]
            and self.feature_tables == list(feature_tables)
            and [_form(feature) for feature in self.features]
            == [_form(feature) for feature in features]
        )

    def differences(self, features: list[ops.FeatureBatch]) -> list[tf.Tensor]:
        """Returns bool scalars, one per tensor of ids that may differ."""
        pairs = [
            pair
            for mine, theirs in zip(self.features, features, strict=True)
            for pair in ((mine.ids, theirs.ids), (mine.splits, theirs.splits))
            if pair[0] is not pair[1]
        ]
        return [_differ(mine, theirs) for mine, theirs in pairs]


class _Recording:
    """Collects reads, and stops the call at the wanted number."""

    def __init__(self, num_wanted: int | None):
        self.reads: list[RowRead] = []
        self._num_wanted = num_wanted

    def note(self, read: RowRead) -> None:
        self.reads.append(read)
        if len(self.reads) == self._num_wanted:
            raise _Enough


class _Enough(BaseException):  # noqa: N818
    """Leaves the call of a model from within; not an error."""


def record(
    call: Callable[[], object], num_wanted: int | None = None
) -> list[RowRead]:
    """Calls a model and returns the reads that it sends.

    Args:
        call: Function that reads rows.
        num_wanted: Number of reads after which the call is left, so that the
            ops behind them are not built. At least 1; None for all.
    """
    recording = _Recording(num_wanted)
    token = _recording.set(recording)
    with contextlib.suppress(_Enough):
        try:
            call()
        finally:
            _recording.reset(token)
    return recording.reads


@contextlib.contextmanager
def ready(reads: list[RowRead]) -> Iterator[None]:
    """Makes lookups in this context use reads that were sent before.

    Raises:
        ReadAheadError: Not all of them were taken.
    """
    left = list(reads)
    token = _ready.set(left)
    try:
        yield
    finally:
        _ready.reset(token)
    if left:
        names = [table.name for table in left[0].tables]
        raise ReadAheadError(
            f"The rows of {names} were read ahead, and the step did not use "
            "them. A step whose rows are read ahead calls the model once on "
            "its inputs, as `Model.train_step` does; use staleness=0 for "
            "other steps."
        )


def is_recording() -> bool:
    """Returns True while reads are sent for a later step."""
    return _recording.get() is not None


def note(read: RowRead) -> None:
    """Collects a read if reads are recorded."""
    recording = _recording.get()
    if recording is not None:
        recording.note(read)


def take(table_set, tables, features, feature_tables) -> RowRead | None:
    """Returns the prefetched read of this lookup, or None."""
    left = _ready.get()
    if not left:
        return None
    if left[0].is_for(table_set, tables, features, feature_tables):
        return left.pop(0)
    raise ReadAheadError(
        f"The step reads {[table.name for table in tables]} by "
        f"{len(features)} features where {len(left[0].features)} features of "
        f"{[table.name for table in left[0].tables]} were read ahead. The "
        "model must read the same features in training as it does when it is "
        "called with training=False; use staleness=0 for others."
    )


def checked(read: RowRead, features: list[ops.FeatureBatch]) -> list:
    """Returns the checks that must run before a read is used."""
    differences = read.differences(features)
    if not differences:
        return []
    return [
        tf.debugging.Assert(
            tf.logical_not(tf.reduce_any(tf.stack(differences))),
            [
                "The ids of this step are not those whose rows were read "
                "ahead. Ids may depend on the model's inputs only, not on "
                "random numbers, variables or `training`; use staleness=0 for "
                "others. Tables: "
                + ", ".join(table.name for table in read.tables)
            ],
            summarize=1,
        )
    ]


def _form(feature: ops.FeatureBatch) -> tuple:
    """Everything of a feature but the tensors of one batch."""
    return (
        feature.splits is None,
        dataclasses.replace(feature, ids=None, splits=None, weights=None),
    )


def _differ(mine: tf.Tensor, theirs: tf.Tensor) -> tf.Tensor:
    return tf.cond(
        tf.equal(tf.size(mine), tf.size(theirs)),
        lambda: tf.reduce_any(
            tf.not_equal(tf.reshape(mine, [-1]), tf.reshape(theirs, [-1]))
        ),
        lambda: True,
    )
