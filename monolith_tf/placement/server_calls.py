"""Calls of servers that retain no kernels there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.distribute import device_util


class ServerCalls:
    """Calls servers by functions that are traced once.

    A server retains some KiB per eager tensor that it sends: the kernel that
    sent it. Repeated calls during training would fill its memory. A function
    reuses its kernels, and returns all of its results together.
    """

    def __init__(self):
        """Traces no function yet."""
        self._functions: dict[Hashable, Callable] = {}
        self._lock = threading.Lock()

    def call(
        self,
        key: Hashable,
        device: str | None,
        function: Callable[..., Any],
        *numbers: int,
        texts: Sequence[str | bytes] = (),
    ) -> Any:
        """Calls a function on a device.

        Args:
            key: Identifies `function`: calls with an equal key run the function
                of the first of them.
            device: Device of the function; None for those of its variables.
            function: Takes one int64 scalar per element of `numbers`, then one
                string scalar per element of `texts`. Returns tensors, in any
                structure.
            *numbers: Arguments of the function.
            texts: Further arguments.

        Returns:
            The tensors, in the memory of this process.
        """
        with tf.init_scope():
            with self._lock:
                if key not in self._functions:
                    self._functions[key] = _function_on(
                        device, function, len(numbers), len(texts)
                    )
                kept = self._functions[key]
            # Vectors, because TensorFlow caches every scalar that it gets.
            packed = []
            if numbers:
                packed.append(tf.constant(numbers, tf.int64))
            if texts:
                packed.append(tf.constant(list(texts), tf.string))
            return kept(*packed)


def _function_on(device, function, num_numbers: int, num_texts: int):
    here = device_util.canonicalize("/device:CPU:0")
    spec = []
    if num_numbers:
        spec.append(tf.TensorSpec([num_numbers], tf.int64))
    if num_texts:
        spec.append(tf.TensorSpec([num_texts], tf.string))

    def run(*packed):
        arguments = [x for vector in packed for x in tf.unstack(vector)]
        with tf.device(device):
            results = function(*arguments)
        with tf.device(here):
            return tf.nest.map_structure(tf.identity, results)

    # Traced here: TensorFlow would take many functions of one text for one
    # function that is retraced, and warn.
    return tf.function(
        run, input_signature=spec, autograph=False
    ).get_concrete_function()
