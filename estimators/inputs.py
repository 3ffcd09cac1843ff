"""Calls of user functions, and tensors of the result of input_fn."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import tensorflow as tf


def call_with_known(function: Callable, *args, **optional):
    """Calls a function with the optional arguments that it accepts.

    Args:
        function: A function.
        *args: Always passed.
        **optional: Passed by name if the function has the argument.
    """
    parameters = inspect.signature(function).parameters
    takes_all = any(
        parameter.kind is inspect.Parameter.VAR_KEYWORD
        for parameter in parameters.values()
    )
    return function(
        *args,
        **{
            name: value
            for name, value in optional.items()
            if takes_all or name in parameters
        },
    )


def takes(function: Callable, name: str) -> bool:
    """Returns True if a function has an argument of this name."""
    return name in inspect.signature(function).parameters


def features_and_labels(result):
    """Converts the result of an input_fn to tensors.

    Args:
        result: A `tf.data.Dataset` of features or of (features, labels), or
            such a pair of tensors, or features.

    Returns:
        Features, labels (or None), and the hooks that start the iterator.
    """
    hooks = []
    if isinstance(result, tf.data.Dataset):
        iterator = tf.compat.v1.data.make_initializable_iterator(result)
        result = iterator.get_next()
        hooks.append(_IteratorHook(iterator.initializer))
    if isinstance(result, (tuple, list)):
        if len(result) != 2:
            raise ValueError(
                "input_fn must return (features, labels), a Dataset of such "
                f"pairs, or features. Received: {len(result)} parts."
            )
        return (*result, hooks)
    return result, None, hooks


class _IteratorHook(tf.compat.v1.train.SessionRunHook):
    """Starts an iterator in every new session."""

    def __init__(self, initializer):
        self._initializer = initializer

    def after_create_session(self, session, coord):
        del coord
        session.run(self._initializer)
