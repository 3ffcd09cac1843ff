"""The inputs that a traced model reads, and the readers of each."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.serving.graph.rebind import needed_ops
from monolith_tf.serving.graph.rebind import ops_behind
from monolith_tf.stock_ops.id_reads import IdRead

# Ops whose output holds values of these inputs and no others.
_SAME_VALUES = {
    "Cast": [0],
    "ConcatV2": slice(0, -1),
    "EnsureShape": [0],
    "ExpandDims": [0],
    "GatherNd": [0],
    "GatherV2": [0],
    "Identity": [0],
    "Pack": slice(0, None),
    "PreventGradient": [0],
    "RaggedTensorToTensor": [1],
    "Reshape": [0],
    "SelectV2": [1, 2],
    "Slice": [0],
    "Split": [1],
    "SplitV": [0],
    "Squeeze": [0],
    "StopGradient": [0],
    "StridedSlice": [0],
    "Transpose": [0],
    "Unpack": [0],
}


class InputReads:
    """Reads of the inputs in one trace of a model.

    Args:
        traced: The traced function.
        arguments: Tensors of each input in `traced`, by its name.
        reads: Reads observed while it was traced.

    Attributes:
        names: Inputs that outputs or effects depend on.
        direct: Reads of the unchanged ids of an input, by its name.
        made: Readers of ids computed from an input, by its name.
    """

    def __init__(
        self,
        traced: tf.types.experimental.ConcreteFunction,
        arguments: Mapping[str, Sequence[tf.Tensor]],
        reads: Sequence[IdRead],
    ):
        """Walks the graph from the reads to the inputs."""
        needed = needed_ops(traced)
        self.names = {
            name
            for name, tensors in arguments.items()
            if any(tensor.op in needed for tensor in tensors)
        }
        self.direct: dict[str, list[IdRead]] = {}
        self.made: dict[str, list[str]] = {}
        name_of = {
            id(tensor.op): name
            for name, tensors in arguments.items()
            for tensor in tensors
        }
        for read in reads:
            ids = _values(read.ids)
            found = {name_of[i] for i in _sources(ids) if i in name_of}
            if read.feature in arguments and _is_elsewhere(ids, traced.graph):
                # Inside of a `tf.function` of the model only the name
                # identifies it.
                found = found or {read.feature}
            for name in found:
                self.direct.setdefault(name, []).append(read)
            if tf.is_symbolic_tensor(ids):
                behind = {name_of.get(id(op)) for op in ops_behind([ids.op])}
                for name in behind - found - {None}:
                    self.made.setdefault(name, []).append(read.reader)


def _values(ids) -> tf.Tensor:
    if isinstance(ids, tf.RaggedTensor):
        return ids.flat_values
    return ids.values if isinstance(ids, tf.SparseTensor) else ids


def _is_elsewhere(tensor, graph: tf.Graph) -> bool:
    return tf.is_symbolic_tensor(tensor) and tensor.graph is not graph


def _sources(tensor: tf.Tensor) -> set[int]:
    """Returns ids of the ops that are sources of a tensor's values."""
    found, waiting = set(), [tensor]
    while waiting:
        tensor = waiting.pop()
        if not tf.is_symbolic_tensor(tensor) or id(tensor.op) in found:
            continue
        op = tensor.op
        found.add(id(op))
        if op.type == "IdentityN":
            waiting.append(op.inputs[tensor.value_index])
        elif op.type == "Placeholder":
            # A capture of a function inside of the model.
            waiting += [
                outer
                for outer, inner in getattr(op.graph, "captures", [])
                if inner is tensor
            ]
        else:
            kept = _SAME_VALUES.get(op.type, [])
            inputs = list(op.inputs)
            if isinstance(kept, slice):
                waiting += inputs[kept]
            else:
                waiting += [inputs[index] for index in kept]
    return found
