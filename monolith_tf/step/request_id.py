"""Steps that may run twice: request ids, and what servers count of them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import tensorflow as tf

from monolith_tf import ops
from monolith_tf.placement.table_set import TableSet
from monolith_tf.placement.table_set import tables_of
from monolith_tf.step.context_scalar import BlockValue

_LIMIT = 1 << 30
_ids = BlockValue("mt.request_id")


@contextlib.contextmanager
def request_id(number) -> Iterator[None]:
    """Names the step that tables learn from in this context.

    A `ClusterCoordinator` runs a step again when its worker is lost, though
    some servers may have applied it already. A server that has taken an update
    with the same id drops the second one, so every row is stepped once. Give
    each call of `schedule` a number of its own and pass it as a tensor: in a
    function that TensorFlow traces a number would stay what it was at the first
    call, and a block around it warns. The step that is run again has the same.

    `fit` needs none: it makes a lost step again with another batch, which is
    another step. Dense weights don't know request ids. A restore forgets the
    ids that were taken, as the rows of their steps are.

    Args:
        number: Scalar int or tensor, 0 to 2^30 - 1. A server remembers the last
            65,536.

    Raises:
        ValueError: `number` is out of range, or not a scalar.

    Example:
    >>> import monolith_tf as mt
    >>> table = mt.Table(mt.TableConfig(
    ...     "user", dim=1, optimizer=mt.optimizers.SGD(1.0),
    ...     initializer=mt.initializers.Zeros()))
    >>> for _ in range(2):
    ...     with mt.request_id(41):
    ...         table.apply_gradients([7], [[0.5]])
    >>> table.lookup([7]).numpy()
    array([[-0.5]], dtype=float32)
    >>> mt.request_counts(table).repeated
    (1,)
    """
    request = tf.cast(number, tf.int64)
    if request.shape.rank not in (None, 0):
        raise ValueError(
            "request_id takes one number for the whole step, a scalar. "
            f"Received: shape {tuple(request.shape)}."
        )
    static = tf.get_static_value(request)
    if static is not None and not 0 <= static < _LIMIT:
        raise ValueError(
            f"request_id takes a number from 0 to {_LIMIT - 1}. Received: "
            f"{static}. Count the calls of `schedule`."
        )
    # A tensor that is too large would reach into other bits.
    with _ids.hold(tf.math.floormod(request, _LIMIT)):
        yield


def current_request_id() -> tf.Tensor | None:
    """Returns the id of the context, int64 scalar, or None."""
    return _ids.get()


@dataclasses.dataclass(frozen=True)
class RequestCounts:
    """Updates that servers have taken since the tables were made.

    Attributes:
        applied: Per server, updates that changed it.
        repeated: Per server, updates dropped because their `mt.request_id` was
            known.
    """

    applied: tuple[int, ...]
    repeated: tuple[int, ...]

    @property
    def partial(self) -> int:
        """Steps that reached some servers and not all; of a quiet model.

        The least number of them: a step that is missing on one server and one
        that is missing on another even out.
        """
        return max(self.applied) - min(self.applied)


def request_counts(tables) -> RequestCounts:
    """Reads how many updates each server took, one call a server.

    Every step of `fit` is one update of each server. So steps that a lost
    worker left half done show as `partial`, and what the fullest server has
    more than the optimizer's `iterations` are steps that moved rows and never
    came to the dense weights.

    Args:
        tables: `mt.TableSet`; or a Keras model or layer, an `mt.Table`, or a
            list of these, with at least one table.

    Raises:
        ValueError: There is no table.
        tf.errors.FailedPreconditionError: A server came back without tables.

    Example:
    >>> import monolith_tf as mt
    >>> with mt.TableSet(num_shards=2):
    ...     table = mt.Table(mt.TableConfig("movie", dim=1))
    >>> table.apply_gradients([1, 2, 3], [[0.1]] * 3)
    >>> counts = mt.request_counts(table)
    >>> counts.applied, counts.repeated, counts.partial
    ((1, 1), (0, 0), 0)
    """
    if isinstance(tables, TableSet):
        table_set = tables
    else:
        found = tables_of(tables)
        if not found:
            raise ValueError(
                f"request_counts: there is no table in {tables!r}; pass a "
                "model that has one."
            )
        table_set = found[0].table_set
    answers = table_set.ask(ops.request_counts)
    counts = [answer.numpy().tolist() for answer in answers]
    applied, repeated = zip(*counts, strict=True)
    return RequestCounts(applied, repeated)
