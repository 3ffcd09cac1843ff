"""A callable model of a model_fn with the values of a checkpoint."""

from __future__ import annotations

import functools
from collections.abc import Callable
from collections.abc import Iterable

import tensorflow as tf
from tensorflow.python.framework import graph_util
from tensorflow.python.trackable.data_structures import NoDependency

from monolith_tf.checkpoint import by_name
from monolith_tf.checkpoint.tf1_graph import saved_variables
from monolith_tf.checkpoint.tf1_graph import tables_in
from monolith_tf.errors import ExportError
from monolith_tf.estimators.estimator_spec import DEFAULT_SERVING_SIGNATURE
from monolith_tf.estimators.export_outputs import signatures_of
from monolith_tf.placement.table_set import TableSet
from monolith_tf.step.backend import StockBackend
from monolith_tf.step.backend import lookup_backend
from monolith_tf.step.backend import read_rows
from monolith_tf.table import Table

v1 = tf.compat.v1


class CheckpointModel(tf.Module):
    """The model that `export_saved_model` exports for an Estimator.

    The model_fn builds a graph once, with placeholders for rows. A call copies
    that graph, reads the rows of the tables or of their substitutes, and
    connects both.

    Args:
        build: Called in a graph; returns a `ServingInputReceiver` and an
            `EstimatorSpec`.
        checkpoint: Prefix of a checkpoint; None if `assign` sets the values.
        name: Name of the model in errors.
        tables: Substitutes for the tables of the graph, with the same names;
            None for tables with the rows of the checkpoint.

    Attributes:
        variable_names: Names of the dense variables in the graph.
        input_specs: Name to `tf.TensorSpec`.
    """

    def __init__(
        self,
        build: Callable,
        checkpoint: str | None,
        name: str,
        tables: list | None = None,
    ):
        """Builds the graph and reads the checkpoint."""
        super().__init__(name="estimator")
        self._model_name = name
        recorder = _RecordedLookups()
        with tf.Graph().as_default() as graph, lookup_backend(recorder):
            receiver, spec = build()
            signatures = signatures_of(spec)
            variables = [
                variable
                for variable in saved_variables(graph)
                if isinstance(variable, tf.Variable)
            ]
            configs = [table.config for table in tables_in(graph)]
        if graph.get_collection(v1.GraphKeys.TABLE_INITIALIZERS):
            raise ExportError(
                f"The model_fn of {name!r} uses lookup tables of TensorFlow, "
                "which exports of an Estimator do not support. Convert strings "
                "to ids by mt.ids.from_strings."
            )
        self.input_specs = {
            key: tf.TensorSpec(tensor.shape, tensor.dtype)
            for key, tensor in receiver.receiver_tensors.items()
        }
        self._placeholders = {
            key: tensor.name
            for key, tensor in receiver.receiver_tensors.items()
        }
        self._lookups = recorder.found
        self._outputs = {
            signature: {key: value.name for key, value in outputs.items()}
            for signature, outputs in signatures.items()
        }
        self.variable_names = [variable.op.name for variable in variables]
        self._variables = [
            tf.Variable(
                tf.zeros(variable.shape, variable.dtype),
                trainable=False,
                name=variable.op.name,
            )
            for variable in variables
        ]
        if checkpoint is not None:
            reader = tf.train.load_checkpoint(checkpoint)
            self.assign(map(reader.get_tensor, self.variable_names))
        self._handles = [variable.handle.name for variable in variables]
        if tables is None:
            with TableSet():
                tables = [Table(config) for config in configs]
            if tables:
                by_name.restore_tables(tables, checkpoint)
        # Not tracked, because they may belong to a session.
        self._tables = NoDependency(tables)
        cut = [*self._placeholders.values(), *self._handles]
        cut += [rows for _, _, rows in self._lookups]
        self._graph_def = _without(graph.as_graph_def(), cut)

    @property
    def tables(self) -> list:
        """The tables, or their substitutes."""
        return list(self._tables)

    def assign(self, values: Iterable) -> None:
        """Sets the dense variables, in the order of `variable_names`."""
        for variable, value in zip(self._variables, values, strict=True):
            variable.assign(value)

    @property
    def variables(self):
        """The dense variables."""
        return tuple(self._variables)

    @property
    def extra_signatures(self) -> dict[str, Callable]:
        """Callables of the signatures other than "serving_default", by name."""
        return {
            name: functools.partial(self._answer, outputs)
            for name, outputs in self._outputs.items()
            if name != DEFAULT_SERVING_SIGNATURE
        }

    def __call__(self, inputs: dict, training: bool = False) -> dict:
        """Computes the outputs; only in a `tf.function`."""
        outputs = self._outputs[DEFAULT_SERVING_SIGNATURE]
        return self._answer(outputs, inputs, training)

    def _answer(self, outputs: dict, inputs: dict, training: bool) -> dict:
        del training
        graph = v1.get_default_graph()
        known = {name: inputs[key] for key, name in self._placeholders.items()}
        for name, variable in zip(self._handles, self._variables, strict=True):
            known[name] = graph.capture(variable.handle)
        by_name = {table.name: table for table in self.tables}
        for table, ids, rows in self._lookups:
            (found,) = self._copy([ids], known)
            known[rows] = read_rows(by_name[table], found)
        answers = self._copy(list(outputs.values()), known)
        return dict(zip(outputs, answers, strict=True))

    def _copy(self, names: list[str], known: dict) -> list[tf.Tensor]:
        """Copies the part of the graph that computes some tensors."""
        nodes = [name.partition(":")[0] for name in names]
        part = graph_util.extract_sub_graph(self._graph_def, nodes)
        there = {node.name for node in part.node}
        return tf.graph_util.import_graph_def(
            part,
            input_map={
                name: tensor
                for name, tensor in known.items()
                if name.partition(":")[0] in there
            },
            return_elements=names,
            name="model",
        )


class _RecordedLookups(StockBackend):
    """Replaces tables while the graph is built; see `LookupBackend`."""

    def __init__(self):
        # Name of a table, of the tensor of ids, and of that of the rows.
        self.found: list[tuple[str, str, str]] = []

    def lookup(self, table, ids: tf.Tensor) -> tf.Tensor:
        rows = v1.placeholder(tf.float32, [None, table.dim])
        self.found.append((table.name, ids.name, rows.name))
        return rows


def _without(graph_def, names: list[str]):
    """Replaces the sources of external tensors by placeholders."""
    cut = {name.partition(":")[0] for name in names}
    for node in graph_def.node:
        node.device = ""
        if node.name not in cut or node.op == "Placeholder":
            continue
        # The handle of a variable: made here, it would be of another variable.
        node.op = "Placeholder"
        node.attr.clear()
        node.attr["dtype"].type = tf.resource.as_datatype_enum
        del node.input[:]
    return graph_def
