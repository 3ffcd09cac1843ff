"""Finds out what a model takes and how its layers pad it."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Mapping

import tensorflow as tf

from monolith_tf.serving.graph.feature_input import PADDED
from monolith_tf.serving.graph.feature_input import ROW_SPLITS
from monolith_tf.serving.graph.feature_input import FeatureInput


class ModelInputs:
    """The inputs of a Keras model, each as a request brings it.

    Args:
      model: A built model of tf_keras or Keras 3.
      inputs: Specs of the inputs by name, or the one that a model of one input
        has, for a model that does not know them; None to ask the model.
      ragged: "padded" or "row_splits".
      string_features: Names of the inputs that travel as strings.

    Raises:
      ValueError: The model does not know its inputs, `ragged` or
        `string_features` name what there is not, or an input can't be served.
    """

    def __init__(
        self,
        model,
        *,
        inputs: Mapping[str, tf.TypeSpec] | tf.TypeSpec | None = None,
        ragged: str = PADDED,
        string_features: Collection[str] = (),
    ):
        """Asks the model, and checks the answer."""
        if ragged not in (PADDED, ROW_SPLITS):
            raise ValueError(
                f'ragged must be "{PADDED}" or "{ROW_SPLITS}". Received: '
                f"ragged={ragged!r}."
            )
        if isinstance(string_features, str):
            raise ValueError(
                "string_features must be a list of names. Received: "
                f"{string_features!r}."
            )
        self._structure, names = _structure_and_names(model, inputs)
        unknown = sorted(set(string_features) - set(names))
        if unknown:
            raise ValueError(
                f"string_features names {unknown}, which the model does not "
                f"take. Its inputs are {sorted(names)}."
            )
        paddings = _padding_ids(model)
        self.features = [
            FeatureInput(
                name=name,
                spec=spec,
                ragged=ragged,
                padding_id=paddings.get(name),
                is_string=name in string_features,
            )
            for name, spec in zip(
                names, tf.nest.flatten(self._structure), strict=True
            )
        ]
        self.request_specs = {}
        for feature in self.features:
            self.request_specs.update(feature.request_specs)

    def read(self, tensors: tuple[tf.Tensor, ...]):
        """What the model is called with.

        Args:
          tensors: One for each of `request_specs`, in order.
        """
        request = dict(zip(self.request_specs, tensors, strict=True))
        return tf.nest.pack_sequence_as(
            self._structure,
            [feature.read(request) for feature in self.features],
        )


def _structure_and_names(model, inputs):
    """Nested specs of the inputs, and their names in flat order."""
    if inputs is not None:
        structure = dict(inputs) if isinstance(inputs, Mapping) else inputs
    elif getattr(model, "inputs", None):
        # A sequential model of Keras 3 has only the list of its one input.
        tensors = getattr(model, "input", model.inputs[0])
        structure = tf.nest.map_structure(_spec_of, tensors)
        if not isinstance(tensors, dict):
            return structure, [t.name for t in tf.nest.flatten(tensors)]
    else:
        # Keras 3 keeps shapes of what a model was called with, but no dtypes.
        known = model.save_spec() if hasattr(model, "save_spec") else None
        if known is None:
            raise ValueError(
                f"Model {model.name!r} does not know its inputs: it was not "
                "called yet, or it is a subclassed model of Keras 3, which "
                "keeps no dtypes. Call a model of tf_keras on a batch, or pass "
                'inputs={"name": tf.TensorSpec([None], tf.int64), ...}, or one '
                "tf.TensorSpec with a name for a model of one input."
            )
        structure = known[0][0]
    if not isinstance(structure, dict):
        specs = tf.nest.flatten(structure)
        names = [
            getattr(spec, "name", None) or f"input_{index + 1}"
            for index, spec in enumerate(specs)
        ]
        return structure, names
    if any(tf.nest.is_nested(spec) for spec in structure.values()):
        raise ValueError(
            f"Model {model.name!r} takes a dictionary of structures; a request "
            "carries named tensors only. Pass the model a flat dictionary. "
            f"Received: {structure}."
        )
    # In the order of tf.nest, whatever the order of the dictionary.
    return dict(structure), sorted(structure)


def _spec_of(tensor) -> tf.TypeSpec:
    """The spec of a symbolic tensor of either Keras."""
    if hasattr(tensor, "type_spec"):
        return tensor.type_spec
    shape, dtype = tensor.shape, tf.as_dtype(tensor.dtype)
    if tensor.sparse:
        return tf.SparseTensorSpec(shape, dtype)
    if getattr(tensor, "ragged", False):
        return tf.RaggedTensorSpec(shape, dtype)
    return tf.TensorSpec(shape, dtype)


def _padding_ids(model) -> dict[str, int]:
    """The padding_id of each input of the model that has one."""
    found = {}
    for layer in _layers(model):
        for name, padding_id in _paddings_of(layer):
            known = found.setdefault(name, padding_id)
            if known != padding_id:
                raise ValueError(
                    f"Feature {name!r} has padding_id {known} in one layer and "
                    f"{padding_id} in another; a padded request has one. Use "
                    "the same in both."
                )
    return found


def _layers(model) -> list:
    """All layers of a model, nested ones too."""
    if hasattr(model, "submodules"):
        return list(model.submodules)
    # Of Keras 3, whose models are no modules of TensorFlow.
    return list(model._flatten_layers())


def _paddings_of(layer) -> list[tuple[str, int]]:
    """Names of inputs and their padding_id, of a layer that reads tables."""
    if not getattr(layer, "tables", None):
        return []
    features = getattr(layer, "features", None)
    if features is None:
        # A layer of one feature has no name for it: its inputs have.
        padding_id = layer.get_config().get("padding_id")
        named = [(name, padding_id) for name in _names_of_inputs(layer)]
    else:
        named = [(feature.name, feature.padding_id) for feature in features]
    return [(name, id_) for name, id_ in named if id_ is not None]


def _names_of_inputs(layer) -> list[str]:
    """Names of the symbolic tensors that a layer was called with."""
    if hasattr(layer, "inbound_nodes"):
        tensors = [
            tensor
            for node in layer.inbound_nodes
            for tensor in node.keras_inputs
        ]
    else:
        tensors = [
            tensor
            for node in layer._inbound_nodes
            for tensor in node.input_tensors
        ]
    return [tensor.name for tensor in tensors]
