"""The inputs of a model, and their formats in a request."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.serving.graph.feature_input import PADDED
from monolith_tf.serving.graph.feature_input import ROW_SPLITS
from monolith_tf.serving.graph.feature_input import FeatureInput
from monolith_tf.serving.graph.input_reads import InputReads


class ModelInputs:
    """The inputs of a Keras model, each with its format in a request.

    The format of an input depends on its use in the model: first the model is
    traced with `call_specs`, then `settle` decides.

    Args:
        model: A built model of tf_keras or Keras 3.
        inputs: Specs of the inputs by name, or the single spec of a model with
            one input, for a model that does not know them; None for those of
            the model.
        ragged: "padded", "row_splits", or None for what fits each input.
        string_features: Names of the inputs that requests send as strings.

    Attributes:
        call_specs: Specs of the model's arguments, in flat order.
        features: The inputs of a request, once settled.
        request_specs: Spec of each tensor of a request by its name, once
            settled.

    Raises:
        ValueError: The model does not know its inputs, or `ragged` or
            `string_features` is not valid.
    """

    def __init__(
        self,
        model,
        *,
        inputs: Mapping[str, tf.TypeSpec] | tf.TypeSpec | None = None,
        ragged: str | None = None,
        string_features: Collection[str] = (),
    ):
        """Reads the inputs of the model, and checks them."""
        if ragged not in (None, PADDED, ROW_SPLITS):
            raise ValueError(
                f'ragged must be "{PADDED}", "{ROW_SPLITS}" or None. Received: '
                f"ragged={ragged!r}."
            )
        if isinstance(string_features, str):
            raise ValueError(
                "string_features must be a list of names. Received: "
                f"{string_features!r}."
            )
        self._structure, self._names = _structure_and_names(model, inputs)
        unknown = sorted(set(string_features) - set(self._names))
        if unknown:
            raise ValueError(
                f"string_features names {unknown}, which the model does not "
                f"take. Its inputs are {sorted(self._names)}."
            )
        self._ragged = ragged
        self._string_features = frozenset(string_features)
        # Requests have all inputs that the caller lists.
        self._keeps_all = inputs is not None
        self._specs = tf.nest.flatten(self._structure)
        self.call_specs = [_with_any_batch(spec) for spec in self._specs]
        self.features: list[FeatureInput] = []
        self.request_specs: dict[str, tf.TensorSpec] = {}

    def pack(self, values: Sequence):
        """Packs one value per spec of `call_specs` into the model's arguments.

        Args:
            values: Tensors, `tf.RaggedTensor`s and `tf.SparseTensor`s.
        """
        return tf.nest.pack_sequence_as(self._structure, list(values))

    def by_name(self, tensors: Sequence[tf.Tensor]) -> dict[str, list]:
        """Groups the tensors of a function of `call_specs` by input."""
        remaining = iter(tensors)
        return {
            name: [
                next(remaining)
                for _ in tf.nest.flatten(spec, expand_composites=True)
            ]
            for name, spec in zip(self._names, self.call_specs, strict=True)
        }

    def settle(self, reads: Sequence[InputReads]) -> None:
        """Decides the format of each input.

        Args:
            reads: Reads of the inputs per signature of the model.

        Raises:
            ValueError: A read input can't be served.
        """
        read = set().union(*(one.names for one in reads))
        self.features = [
            self._feature(name, spec, reads)
            for name, spec in zip(self._names, self._specs, strict=True)
            if self._keeps_all or name in read
        ]
        self.request_specs = {}
        for feature in self.features:
            self.request_specs.update(feature.request_specs)

    def read(self, request: dict[str, tf.Tensor]) -> list[tf.Tensor | None]:
        """Returns the arguments of a function of `call_specs`.

        Args:
            request: Tensors by the names of `request_specs`.

        Returns:
            Tensors in flat order; None for inputs that are left out.
        """
        found = {f.name: f.read(request) for f in self.features}
        arguments = []
        for name, spec in zip(self._names, self.call_specs, strict=True):
            value = found.get(name)
            if value is None:
                value = [None] * len(
                    tf.nest.flatten(spec, expand_composites=True)
                )
            arguments += tf.nest.flatten(value, expand_composites=True)
        return arguments

    def _feature(self, name: str, spec, reads) -> FeatureInput:
        feature = FeatureInput(
            name=name,
            spec=spec,
            ragged=ROW_SPLITS,
            is_string=name in self._string_features,
        )
        if not feature.varies or self._ragged == ROW_SPLITS:
            return feature
        if feature.is_text:
            return dataclasses.replace(feature, ragged=PADDED)
        padded_by = {
            read.padding_id: read.reader
            for one in reads
            for read in one.direct.get(name, [])
            if read.padding_id is not None
        }
        if len(padded_by) == 1:
            (padding_id,) = padded_by
            return dataclasses.replace(
                feature, ragged=PADDED, padding_id=padding_id
            )
        if self._ragged == PADDED:
            raise ValueError(
                _two_paddings(name, padded_by)
                if padded_by
                else _no_padding(name, reads)
            )
        return feature


def _two_paddings(name: str, padded_by: Mapping[int, str]) -> str:
    readers = " and ".join(
        f"{reader} with padding_id {padding_id}"
        for padding_id, reader in sorted(padded_by.items())
    )
    return (
        f"Ragged input {name!r} is read by {readers}; a padded request has one "
        'padding. Use the same in all, or export with ragged="row_splits".'
    )


def _no_padding(name: str, reads: Sequence[InputReads]) -> str:
    direct, made = set(), set()
    for one in reads:
        direct.update(read.reader for read in one.direct.get(name, []))
        made.update(one.made.get(name, []))
    if direct:
        cause = f"it is read without a padding_id by {_listed(direct)}"
        advice = f"Give {min(direct)} a padding_id"
    elif made:
        cause = f"ids are made of it for {_listed(made)}"
        advice = "Give mt.layers.CrossedIds, if it reads it, a padding_id"
    else:
        cause = "no feature reads it"
        advice = "Leave it out of `inputs` if the model does not need it"
    return (
        f"Ragged input {name!r} has no padding, so that padded requests can't "
        f"say where a row ends ({cause}). {advice}, or export with "
        'ragged="row_splits".'
    )


def _listed(readers: Collection[str]) -> str:
    return " and ".join(sorted(readers))


def _with_any_batch(spec: tf.TypeSpec) -> tf.TypeSpec:
    """Returns the spec of batches of any size, without a name."""
    shape = [None, *spec.shape.as_list()[1:]]
    if isinstance(spec, tf.RaggedTensorSpec):
        return tf.RaggedTensorSpec(
            shape, spec.dtype, spec.ragged_rank, spec.row_splits_dtype
        )
    return type(spec)(shape, spec.dtype)


def _structure_and_names(model, inputs):
    """Returns nested specs of the inputs, and names in flat order."""
    if inputs is not None:
        structure = dict(inputs) if isinstance(inputs, Mapping) else inputs
    elif getattr(model, "inputs", None):
        # A sequential model of Keras 3 has only a list with one input.
        tensors = getattr(model, "input", model.inputs[0])
        structure = tf.nest.map_structure(_spec_of, tensors)
        if not isinstance(tensors, dict):
            return structure, [t.name for t in tf.nest.flatten(tensors)]
    else:
        # Keras 3 keeps the shapes of a model's call, but no dtypes.
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
    # In the order of tf.nest, which sorts dictionaries.
    return dict(structure), sorted(structure)


def _spec_of(tensor) -> tf.TypeSpec:
    """Returns the spec of a symbolic tensor of either Keras."""
    if hasattr(tensor, "type_spec"):
        return tensor.type_spec
    shape, dtype = tensor.shape, tf.as_dtype(tensor.dtype)
    if tensor.sparse:
        return tf.SparseTensorSpec(shape, dtype)
    if getattr(tensor, "ragged", False):
        return tf.RaggedTensorSpec(shape, dtype)
    return tf.TensorSpec(shape, dtype)
