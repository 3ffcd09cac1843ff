"""Keras training that prefetches the rows of later steps."""

from __future__ import annotations

import functools
import numbers
import weakref

import tensorflow as tf

from monolith_tf.config.keras_version import is_keras_3
from monolith_tf.step import prefetch


def pipelined(model, staleness: int = 1):
    """Makes `fit` prefetch rows while the dense model computes.

    Under a ParameterServerStrategy a worker waits for rows, computes, and waits
    until gradients are applied. A pipelined model requests the rows of a step
    `staleness` steps before it begins, and a step does not wait until the
    gradients of the previous one have reached the tables. This happens within
    one execution of `steps_per_execution` steps, which begins and ends with
    nothing in flight.

    The forward pass of a step reads its rows as they were before the last
    `staleness` steps of the same worker changed them. Its gradients update the
    current rows; none is lost. Dense weights are never stale. Steps of other
    workers interleave as without this function. With `staleness=0` each step
    reads what the previous one wrote: the training is the same as without this
    function.

    Ids may depend only on the model's inputs: the model is called with
    `training=False`, up to the last lookup, to find which rows it will read.
    The step compares ids, and fails if they differ.

    Args:
        model: A tf_keras model with tables, changed in place. Saved models and
            copies are not pipelined.
        staleness: Steps, 0 or more. `steps_per_execution` of `compile` must be
            larger, best several times; its steps are unrolled into one graph.

    Returns:
        The model.

    Raises:
        TypeError: `staleness` is not an integer, or `model` is not a tf_keras
            model.
        ValueError: `staleness` is negative. In `fit`: `steps_per_execution` is
            not larger than `staleness`, or "auto"; the model runs eagerly, or
            is compiled by XLA.
        mt.errors.ReadAheadError: In `fit`: the step reads other features than
            the model does when it is called with `training=False`.
        tf.errors.InvalidArgumentError: In `fit`: the ids of a step differ from
            the prefetched ones.

    Example:
    >>> import monolith_tf as mt
    >>> import tensorflow as tf
    >>> import tf_keras
    >>> model = tf_keras.Sequential([
    ...     mt.layers.DynamicEmbedding(mt.TableConfig("movie", dim=4)),
    ...     tf_keras.layers.Dense(1)])
    >>> model.compile(mt.optimizers.with_tables("sgd"), "mse",
    ...               steps_per_execution=10)
    >>> model = mt.pipelined(model, staleness=1)
    >>> data = tf.data.Dataset.range(640).batch(32)
    >>> data = data.map(lambda ids: (ids, tf.ones([32, 1])))
    >>> history = model.fit(data, epochs=2, verbose=0)
    >>> model.layers[0].table.size()
    640
    """
    if is_keras_3(model):
        raise TypeError(
            "pipelined takes a tf_keras model: it reads ahead for parameter "
            f"servers, and Keras 3 trains in one process. Received: {model!r} "
            "of Keras 3. Leave pipelined out."
        )
    if not callable(getattr(model, "make_train_function", None)):
        raise TypeError(
            "pipelined takes a tf_keras model. Received: "
            f"model={model!r} (of type {type(model).__name__})."
        )
    if isinstance(staleness, bool) or not isinstance(
        staleness, numbers.Integral
    ):
        raise TypeError(
            "staleness must be an integer, 0 or more. Received: "
            f"staleness={staleness!r} (of type {type(staleness).__name__})."
        )
    if staleness < 0:
        raise ValueError(
            f"staleness must be 0 or more. Received: staleness={staleness}."
        )
    # The model holds the function; it need not hold the model.
    reference = weakref.ref(model)

    def make_train_function(force: bool = False):
        held = reference()
        if held.train_function is None or force:
            held.train_function = _train_function(held, int(staleness))
        return held.train_function

    model.make_train_function = make_train_function
    model.train_function = None
    return model


def _train_function(model, staleness: int):
    """Makes the function that `fit` calls with an iterator."""
    _check(model, staleness)
    reference = weakref.ref(model)

    @functools.lru_cache
    def of_steps(num_steps: int):
        return tf.function(
            lambda iterator: _execute(
                reference(), iterator, num_steps, staleness
            ),
            reduce_retracing=True,
        )

    def train_function(iterator):
        held = reference()
        # The last execution of an epoch may have fewer steps.
        function = of_steps(int(held._steps_per_execution.numpy()))
        held.train_tf_function = function
        if held._cluster_coordinator is None:
            return function(iterator)
        return held._cluster_coordinator.schedule(function, args=(iterator,))

    return train_function


def _check(model, staleness: int) -> None:
    if model.run_eagerly or model.jit_compile:
        raise ValueError(
            "pipelined: the model must run in TensorFlow's graphs. Received: "
            f"run_eagerly={model.run_eagerly}, "
            f"jit_compile={model.jit_compile}; leave both out of compile."
        )
    if model.autotune_steps_per_execution:
        raise ValueError(
            "pipelined: steps_per_execution='auto' can't be unrolled; pass a "
            "number to compile."
        )
    num_steps = int(model._steps_per_execution.numpy())
    if num_steps <= staleness:
        raise ValueError(
            "pipelined: steps_per_execution must be larger than the "
            f"staleness. Received: steps_per_execution={num_steps}, "
            f"staleness={staleness}. Pass for instance "
            f"steps_per_execution={10 * max(staleness, 1)} to compile."
        )


def _execute(model, iterator, num_steps: int, staleness: int):
    """Runs `num_steps` steps; returns the logs of the last one."""
    batches = [next(iterator) for _ in range(num_steps)]

    def run(batches):
        return _run_steps(model, batches, staleness)

    strategy = model.distribute_strategy
    outputs = strategy.run(run, args=(batches,))
    return tf.nest.map_structure(
        lambda value: strategy.experimental_local_results(value)[0], outputs
    )


def _run_steps(model, batches: list, staleness: int):
    num_reads = _count_reads(model, batches[0]) if staleness else 0
    ahead: list[list[prefetch.RowRead]] = []
    outputs = None
    for number, data in enumerate(batches):
        if num_reads:
            for coming in batches[len(ahead) : number + staleness + 1]:
                ahead.append(
                    prefetch.record(_call_on(model, coming), num_reads)
                )
        with prefetch.ready(ahead[number] if num_reads else []):
            outputs = model.train_step(data)
        # As Keras does: counted if the step succeeded.
        made = [
            output
            for output in tf.nest.flatten(outputs, expand_composites=True)
            if not isinstance(output, tf.Variable)
        ]
        with tf.control_dependencies(made[:1]):
            model._train_counter.assign_add(1)
    return outputs


def _count_reads(model, data) -> int:
    """Counts the reads of the model, in a graph that never runs."""
    found = []

    @tf.function(autograph=False)
    def scratch(data):
        found.append(len(prefetch.record(_call_on(model, data))))

    scratch.get_concrete_function(
        tf.nest.map_structure(tf.type_spec_from_value, data)
    )
    return found[-1]


def _call_on(model, data):
    """Returns a function that calls the model on the inputs of a batch."""

    def call():
        inputs, _, _ = _unpack(data)
        model(inputs, training=False)

    return call


def _unpack(data):
    import tf_keras

    return tf_keras.utils.unpack_x_y_sample_weight(data)
