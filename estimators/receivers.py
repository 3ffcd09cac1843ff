"""Inputs of a served model: tensors of a request, and their features."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import NamedTuple

import tensorflow as tf

v1 = tf.compat.v1


class _Fields(NamedTuple):
    features: Any
    receiver_tensors: dict
    receiver_tensors_alternatives: dict | None


class ServingInputReceiver(_Fields):
    """The features of a request, and the placeholders of its tensors.

    Args:
        features: Features of model_fn.
        receiver_tensors: Name to placeholder, or one placeholder ("input").
        receiver_tensors_alternatives: Must be None.
    """

    def __new__(
        cls, features, receiver_tensors, receiver_tensors_alternatives=None
    ):
        """Checks the tensors."""
        if receiver_tensors_alternatives:
            raise ValueError(
                "ServingInputReceiver: receiver_tensors_alternatives must be "
                "None, an export has one serving signature. Received: "
                f"{receiver_tensors_alternatives!r}."
            )
        if not isinstance(receiver_tensors, Mapping):
            receiver_tensors = {"input": receiver_tensors}
        for name, tensor in receiver_tensors.items():
            if not isinstance(tensor, tf.Tensor):
                raise TypeError(
                    f"ServingInputReceiver: receiver tensor {name!r} must be a "
                    f"tensor. Received: {tensor!r}."
                )
        return super().__new__(cls, features, dict(receiver_tensors), None)


def build_parsing_serving_input_receiver_fn(
    feature_spec: Mapping, default_batch_size: int | None = None
) -> Callable[[], ServingInputReceiver]:
    """Makes a receiver of serialized `tf.train.Example`s.

    Args:
        feature_spec: As for `tf.io.parse_example`.
        default_batch_size: Number of examples per request; None for any.

    Returns:
        A function without arguments, whose request has the string tensor
        "examples".
    """

    def receive() -> ServingInputReceiver:
        examples = v1.placeholder(
            tf.string, [default_batch_size], "input_example_tensor"
        )
        features = tf.io.parse_example(examples, dict(feature_spec))
        return ServingInputReceiver(features, {"examples": examples})

    return receive


def build_raw_serving_input_receiver_fn(
    features: Mapping, default_batch_size: int | None = None
) -> Callable[[], ServingInputReceiver]:
    """Makes a receiver of named feature tensors.

    Args:
        features: Name to a tensor or spec with dtype and shape.
        default_batch_size: Number of examples per request; None for any.

    Returns:
        A function without arguments.
    """
    specs = {
        name: (tensor.dtype, tensor.shape.as_list())
        for name, tensor in features.items()
    }

    def receive() -> ServingInputReceiver:
        placeholders = {
            name: v1.placeholder(
                dtype,
                [default_batch_size, *shape[1:]] if shape else shape,
                name,
            )
            for name, (dtype, shape) in specs.items()
        }
        return ServingInputReceiver(dict(placeholders), placeholders)

    return receive
