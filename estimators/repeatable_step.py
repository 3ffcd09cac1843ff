"""A training step that repeats with the same batch and request id."""

from __future__ import annotations

import secrets

import tensorflow as tf

from monolith_tf.estimators.table_generations import TableGenerations

v1 = tf.compat.v1


class RepeatableStep(v1.train.SessionRunHook):
    """Keeps a batch in the worker's process until its step is done.

    A session that lost a parameter server is recreated, and runs its step
    again. If all servers still have their tables, the step has the same batch
    and number as before, and the input continues after it: a server that has
    already applied the step drops it (`mt.request_id`). If the tables were
    created or restored meanwhile on any server, the input starts over.

    The worker counts its steps, under a random name that differs between
    workers and between restarts of one.

    Args:
        worker: Device of this worker.
        dataset: The input.

    Attributes:
        batch: One element of the dataset, the same until the step is done.
        client: int64 scalar, the client of the step's request id: a random name
            of this worker, or of the batch where a run without the hook drew
            it.
        number: int64 scalar, the number of the step's request id.
    """

    def __init__(self, worker: str, dataset: tf.data.Dataset):
        """Builds the operations in the current graph."""
        name = f"monolith_tf_step_{secrets.token_hex(8)}"
        spec = dataset.element_spec
        flat = tf.nest.flatten(spec, expand_composites=True)
        tensors = [part for part in flat if isinstance(part, tf.TensorSpec)]
        held = {
            "dtypes": [part.dtype for part in tensors] + [tf.int64],
            "shared_name": name,
        }
        with tf.device(worker):
            # By name, because it outlives the session.
            iterator = v1.data.make_initializable_iterator(dataset, name)
            # Default for runs without the hook, of tensors of the batch alone.
            name_of_batch = tf.random.uniform(
                [], maxval=tf.int64.max, dtype=tf.int64
            )
            self._next_request = v1.placeholder_with_default(
                tf.stack([name_of_batch, 0]), [2]
            )

            def draw():
                batch = tf.nest.flatten(
                    iterator.get_next(), expand_composites=True
                )
                batch = [part for part in batch if part is not None]
                with tf.device(worker):
                    stage = tf.raw_ops.Stage(
                        values=[*batch, self._next_request], shared_name=name
                    )
                with tf.control_dependencies([stage]):
                    return tf.constant(True)

            drawn = tf.cond(
                tf.equal(tf.raw_ops.StageSize(**held), 0),
                draw,
                lambda: tf.constant(True),
            )
            with tf.control_dependencies([drawn]):
                *parts, request = tf.raw_ops.StagePeek(index=0, **held)
            self.client, self.number = tf.unstack(request, 2)
            self._parts = parts
            self._unstage = lambda: tf.raw_ops.Unstage(**held)
            self._begin = tf.group(
                iterator.initializer, tf.raw_ops.StageClear(**held)
            )
        for part, tensor in zip(tensors, parts, strict=True):
            tensor.set_shape(part.shape)
        left = iter(parts)
        self.batch = tf.nest.pack_sequence_as(
            spec,
            [
                next(left) if isinstance(part, tf.TensorSpec) else None
                for part in flat
            ],
            expand_composites=True,
        )
        self._name = secrets.randbits(63)
        self._worker = worker
        self._generations: TableGenerations | None = None
        self._started: tuple[int, ...] | None = None
        self._num_runs = 0

    def done(self, *operations) -> tf.Operation:
        """Returns the operation that ends the step.

        Args:
            *operations: Operations of the step.
        """
        with (
            tf.control_dependencies([*operations, *self._parts]),
            tf.device(self._worker),
        ):
            return tf.group(self._unstage())

    def begin(self):
        """Builds the operations that read the generations of the tables."""
        self._generations = TableGenerations()

    def after_create_session(self, session, coord):
        """Starts the input, unless the previous step continues."""
        del coord
        if self._generations:
            found = self._generations.read(session)
            if found == self._started:
                return
            self._started = found
        session.run(self._begin)

    def before_run(self, run_context):
        """Feeds a number, which is used if the step draws a batch."""
        del run_context
        if not self._generations:
            return None
        self._num_runs += 1
        return v1.train.SessionRunArgs(
            None,
            feed_dict={self._next_request: [self._name, self._num_runs - 1]},
        )
