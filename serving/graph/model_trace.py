"""Traces of a model on the tables and variables of an export."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence

import tensorflow as tf

from monolith_tf.config.keras_version import is_keras_3
from monolith_tf.errors import ExportError
from monolith_tf.serving.graph.dense_copy import DenseCopy
from monolith_tf.serving.graph.input_reads import InputReads
from monolith_tf.serving.graph.model_inputs import ModelInputs
from monolith_tf.serving.graph.rebind import rebind
from monolith_tf.serving.graph.saved_model_files import check_stock_ops
from monolith_tf.step.backend import lookup_backend
from monolith_tf.step.table_variable import TableVariable
from monolith_tf.stock_ops.id_reads import observed_reads


def dense_variables(model) -> list[tf.Variable]:
    """Returns the dense variables of a model, in manifest order.

    A delta of dense variables has their bytes in this order.

    Args:
        model: A built Keras model.

    Returns:
        Variables of any shape and numeric dtype.

    Example:
    >>> import monolith_tf as mt
    >>> import tf_keras
    >>> ids = tf_keras.Input([], dtype="int64")
    >>> rows = mt.layers.DynamicEmbedding(mt.TableConfig("item", dim=4))(ids)
    >>> model = tf_keras.Model(ids, tf_keras.layers.Dense(1)(rows))
    >>> [variable.shape.as_list() for variable in dense_variables(model)]
    [[4, 1], [1]]
    """
    variables = model.variables
    if is_keras_3(model):
        # Without random states; each weight has the variable of TensorFlow.
        variables = [weight.value for weight in model.weights]
    return [v for v in variables if not isinstance(v, TableVariable)]


class ModelTrace:
    """A traced signature of a model, such as `serving_default`.

    Args:
        model: A built Keras model.
        inputs: Its inputs.
        backend: Lookup backend of the layers.
        dense: Copy of `dense_variables(model)`.
        call: Callable with the arguments of the model; None for the model.

    Attributes:
        reads: `InputReads` of the trace.

    Raises:
        ExportError: The model reads a resource that exports do not support.
    """

    def __init__(
        self,
        model,
        inputs: ModelInputs,
        backend,
        dense: DenseCopy,
        call: Callable | None = None,
    ):
        """Traces the model."""
        self._model = model
        self._inputs = inputs
        call = call or model
        reads = []

        def answer(*values):
            with lookup_backend(backend), observed_reads() as observed:
                outputs = call(inputs.pack(values), training=False)
            reads[:] = observed
            return _named_outputs(model, outputs)

        self._traced = tf.function(answer, autograph=False)
        self._traced = self._traced.get_concrete_function(*inputs.call_specs)
        self.reads = InputReads(
            self._traced, inputs.by_name(self._traced.inputs), reads
        )
        check_stock_ops(self._traced.graph.as_graph_def())
        self._replacements = {}
        for variable, copy in zip(
            dense_variables(model), dense.copies, strict=True
        ):
            for handle in _handles(variable):
                self._replacements[id(handle)] = copy.handle

    def function(
        self, own_modules: Sequence[tf.Module]
    ) -> tuple[tf.types.experimental.ConcreteFunction, list]:
        """Returns the traced function without the model's variables.

        Call it after the inputs are settled.

        Args:
            own_modules: Modules of the export, whose resources it may read.

        Returns:
            The concrete function, and the trackable resources of the model that
            it reads, such as the vocabulary of a `StringLookup`.
        """
        known = set(self._replacements)
        for module in own_modules:
            known.update(id(handle) for handle in _resources(module))
        owners = {}
        for owner in tf.train.TrackableView(self._model).descendants():
            if isinstance(owner, tf.saved_model.experimental.TrackableResource):
                owners[id(owner.resource_handle)] = owner
        resources = []
        for tensor in self._traced.captured_inputs:
            if tensor.dtype != tf.resource or id(tensor) in known:
                continue
            if id(tensor) not in owners:
                raise ExportError(
                    f"Model {self._model.name!r} reads a variable or resource "
                    "that is not part of it: "
                    f"{_describe(self._traced, tensor)}. Its value in a server "
                    "would never change. Make it an attribute of the model or "
                    "of one of its layers."
                )
            resources.append(owners[id(tensor)])
        specs = self._inputs.request_specs
        names = argument_names(specs)
        function = rebind(
            self._traced,
            self._replacements,
            {names[name]: spec for name, spec in specs.items()},
            lambda inputs: self._inputs.read(
                {name: inputs[names[name]] for name in specs}
            ),
        )
        return function, resources


def _named_outputs(model, outputs) -> dict[str, tf.Tensor]:
    if not isinstance(outputs, dict):
        flat = tf.nest.flatten(outputs)
        names = getattr(model, "output_names", None) or ()
        if len(set(names)) != len(flat):
            names = [f"output_{index + 1}" for index in range(len(flat))]
        outputs = dict(zip(names, flat, strict=True))
    for name, output in outputs.items():
        if not isinstance(output, tf.Tensor):
            raise ExportError(
                f"Output {name!r} of model {model.name!r} must be a tensor. "
                f"Received: {type(output).__name__}. Convert it in the model, "
                "for example by to_tensor()."
            )
    return dict(outputs)


def argument_names(request_specs) -> dict[str, str]:
    """Returns the name of a Python argument per name in a request."""
    return {
        name: name
        if name.isidentifier() and name.isascii()
        else f"request_{index}"
        for index, name in enumerate(request_specs)
    }


def _handles(variable) -> list[tf.Tensor]:
    """Returns the handles that a read of a variable may capture."""
    replicas = getattr(variable, "values", None)
    if isinstance(replicas, (list, tuple)):
        return [replica.handle for replica in replicas]
    return [variable.handle]


def _resources(module: tf.Module) -> list[tf.Tensor]:
    handles = [variable.handle for variable in module.variables]
    for child in tf.train.TrackableView(module).descendants():
        if isinstance(child, tf.saved_model.experimental.TrackableResource):
            handles.append(child.resource_handle)
    return handles


def _describe(traced, tensor) -> str:
    for variable in traced.graph.variables:
        if variable.handle is tensor:
            return f"variable {variable.name!r}"
    position = [id(t) for t in traced.captured_inputs].index(id(tensor))
    placeholder = traced.inputs[-len(traced.captured_inputs) + position]
    readers = [op.name for op in placeholder.consumers()]
    return f"read by {', '.join(readers)}"
