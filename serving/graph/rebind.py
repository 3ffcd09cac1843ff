"""Copies of traced functions without variables of the tracing process."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import tensorflow as tf


def rebind(
    traced: tf.types.experimental.ConcreteFunction,
    replacements: Mapping[int, tf.Tensor],
    input_specs: Mapping[str, tf.TensorSpec],
    arguments_of: Callable[[dict[str, tf.Tensor]], Sequence[tf.Tensor | None]],
) -> tf.types.experimental.ConcreteFunction:
    """Copies a function with some of its captured tensors replaced.

    The variables of a model may be on parameter servers and may change. The
    copy has local variables in their place, and no op has a device.

    Args:
        traced: A function of positional tensors that returns a dict.
        replacements: `id` of a captured tensor to its replacement. Other
            tensors stay captured.
        input_specs: Spec of each input of the copy by its name.
        arguments_of: Returns the arguments of `traced` for the inputs of the
            copy; None for an argument that is not needed.

    Returns:
        A concrete function with keyword inputs and the outputs of `traced`.
    """
    graph_def = traced.graph.as_graph_def()
    # Ops that depend on missing arguments alone can't be computed.
    needed = {op.name for op in needed_ops(traced)}
    nodes = [node for node in graph_def.node if node.name in needed]
    del graph_def.node[:]
    graph_def.node.extend(nodes)
    for node in graph_def.node:
        node.device = ""
        # Names replaced nodes, and devices that may not exist.
        node.attr.pop("_class", None)
    captured = traced.captured_inputs
    num_arguments = len(traced.inputs) - len(captured)
    arguments = [tensor.name for tensor in traced.inputs[:num_arguments]]
    captures = [tensor.name for tensor in traced.inputs[num_arguments:]]
    # Positions of the outputs in the flat order.
    names = sorted(traced.structured_outputs)

    def bound(**inputs):
        input_map = dict(zip(arguments, arguments_of(inputs), strict=True))
        graph = tf.compat.v1.get_default_graph()
        for name, tensor in zip(captures, captured, strict=True):
            input_map[name] = graph.capture(
                replacements.get(id(tensor), tensor)
            )
        outputs = tf.graph_util.import_graph_def(
            graph_def,
            input_map={
                name: tensor
                for name, tensor in input_map.items()
                if name.partition(":")[0] in needed
            },
            return_elements=[tensor.name for tensor in traced.outputs],
            name="model",
        )
        return dict(zip(names, outputs, strict=True))

    function = tf.function(bound, autograph=False)
    return function.get_concrete_function(**input_specs)


def needed_ops(
    traced: tf.types.experimental.ConcreteFunction,
) -> set[tf.Operation]:
    """Returns the ops that a function's outputs or effects depend on."""
    graph = traced.graph
    return ops_behind(
        [tensor.op for tensor in traced.outputs] + list(graph.control_outputs)
    )


def ops_behind(operations: Sequence[tf.Operation]) -> set[tf.Operation]:
    """Returns operations of a graph and all that they depend on."""
    found, waiting = set(), list(operations)
    while waiting:
        op = waiting.pop()
        if op not in found:
            found.add(op)
            waiting += [tensor.op for tensor in op.inputs]
            waiting += op.control_inputs
    return found
