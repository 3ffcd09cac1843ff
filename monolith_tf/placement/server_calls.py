"""Calls of servers that leave nothing behind there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from collections.abc import Hashable
from typing import Any

import tensorflow as tf
from tensorflow.python.distribute import device_util


class ServerCalls:
    """Asks servers by functions that are made once.

    Of every eager tensor that comes from a server, the server keeps some KiB:
    the kernel that sent it. What is asked for as long as training goes on would
    fill it. A function keeps its kernels for all its calls, and brings all of
    its results in one.
    """

    def __init__(self):
        """Makes no function yet."""
        self._functions: dict[Hashable, Callable] = {}
        self._lock = threading.Lock()

    def call(
        self,
        key: Hashable,
        device: str | None,
        function: Callable[..., Any],
        *numbers: int,
    ) -> Any:
        """Calls a function on a device.

        Args:
            key: Says what `function` does, and on what: of equal keys the
                function of the first call is called.
            device: Where it runs; None for where its variables are.
            function: Takes an int64 scalar for each of `numbers` and returns
                tensors, in any structure.
            *numbers: Its arguments.

        Returns:
            The tensors, in the memory of this process.
        """
        with tf.init_scope():
            with self._lock:
                if key not in self._functions:
                    self._functions[key] = _function_on(
                        device, function, len(numbers)
                    )
                kept = self._functions[key]
            # A list, as TensorFlow keeps every scalar that it ever got.
            packed = [tf.constant(numbers, tf.int64)] if numbers else []
            return kept(*packed)


def _function_on(device, function, num_numbers: int):
    here = device_util.canonicalize("/device:CPU:0")

    def run(*packed):
        numbers = tf.unstack(packed[0], num_numbers) if packed else []
        with tf.device(device):
            results = function(*numbers)
        with tf.device(here):
            return tf.nest.map_structure(tf.identity, results)

    spec = [tf.TensorSpec([num_numbers], tf.int64)] if num_numbers else []
    # Traced here: TensorFlow would take many functions of one text for one that
    # is traced again and again, and warn.
    return tf.function(
        run, input_signature=spec, autograph=False
    ).get_concrete_function()
