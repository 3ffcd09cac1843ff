"""Makes a traced function independent of the process that traced it."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf


def rebind(
    traced: tf.types.experimental.ConcreteFunction,
    replacements: Mapping[int, tf.Tensor],
    input_specs: Mapping[str, tf.TensorSpec],
) -> tf.types.experimental.ConcreteFunction:
    """Copies a function with some of its captured tensors replaced.

    The variables of a model may be on parameter servers and go on changing; in
    the copy, local variables are in their place, and no op has a device.

    Args:
      traced: A function of positional tensors that returns a dict.
      replacements: By `id` of a captured tensor, what to read instead. What is
        not in it stays captured.
      input_specs: Spec of each input by the name that it gets, in the order of
        the inputs of `traced`.

    Returns:
      A concrete function with keyword inputs and the outputs of `traced`.
    """
    graph_def = traced.graph.as_graph_def()
    for node in graph_def.node:
        node.device = ""
        # Names nodes that are replaced, and devices that are not there.
        node.attr.pop("_class", None)
    captured = traced.captured_inputs
    num_arguments = len(traced.inputs) - len(captured)
    arguments = [tensor.name for tensor in traced.inputs[:num_arguments]]
    captures = [tensor.name for tensor in traced.inputs[num_arguments:]]
    # Positions of the outputs in the flat order.
    names = sorted(traced.structured_outputs)

    def bound(**inputs):
        input_map = {
            argument: inputs[name]
            for argument, name in zip(arguments, input_specs, strict=True)
        }
        graph = tf.compat.v1.get_default_graph()
        for name, tensor in zip(captures, captured, strict=True):
            input_map[name] = graph.capture(
                replacements.get(id(tensor), tensor)
            )
        outputs = tf.graph_util.import_graph_def(
            graph_def,
            input_map=input_map,
            return_elements=[tensor.name for tensor in traced.outputs],
            name="model",
        )
        return dict(zip(names, outputs, strict=True))

    function = tf.function(bound, autograph=False)
    return function.get_concrete_function(**input_specs)
