"""Checks and edits of the files of a SavedModel before its publication."""

from __future__ import annotations

import os
from collections.abc import Iterable
from collections.abc import Mapping

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from monolith_tf import failpoints
from monolith_tf.errors import ExportError

_OWN_PREFIX = "Monolith"


def check_stock_ops(graph_def: tf.compat.v1.GraphDef) -> None:
    """Rejects a graph that a server without this library can't load.

    Args:
        graph_def: Graph with its function library.

    Raises:
        ExportError: The graph has an op of this library; the message has op and
            node.
    """
    nodes = list(graph_def.node)
    for function in graph_def.library.function:
        nodes += function.node_def
    for node in nodes:
        if node.op.startswith(_OWN_PREFIX):
            raise ExportError(
                f"The model still has the op {node.op} at {node.name!r} after "
                "its tables were replaced; a server without this library can't "
                "load that. Layers must read rows through "
                "monolith_tf.step.backend.current_backend(), as those of "
                "mt.layers do."
            )


def finish(
    path: str, signature_inputs: Mapping[str, str], signatures: Iterable[str]
) -> None:
    """Checks the ops of a SavedModel and renames its inputs.

    Inputs may have names that Python arguments can't have, such as
    "genres:values".

    Args:
        path: Directory of the SavedModel.
        signature_inputs: Name of an input in the trace to its name in requests.
        signatures: Names of the signatures with these inputs.

    Raises:
        ExportError: The graph has an op of this library.
    """
    file = os.path.join(path, "saved_model.pb")
    saved_model = saved_model_pb2.SavedModel()
    with open(file, "rb") as stream:
        saved_model.ParseFromString(stream.read())
    for meta_graph in saved_model.meta_graphs:
        check_stock_ops(meta_graph.graph_def)
    if all(traced == name for traced, name in signature_inputs.items()):
        return
    for meta_graph in saved_model.meta_graphs:
        for name in signatures:
            _rename_inputs(meta_graph.signature_def[name], signature_inputs)
        # Names of the arguments for tf.saved_model.load.
        for function in meta_graph.object_graph_def.nodes:
            _rename_keywords(function, signature_inputs)
    failpoints.hit("saved_model_files.before_write")
    with open(file, "wb") as stream:
        stream.write(saved_model.SerializeToString(deterministic=True))
    # It does not fit the edited file, and a SavedModel does not need it.
    os.remove(os.path.join(path, "fingerprint.pb"))


def sync(path: str) -> None:
    """Makes a directory and its content durable.

    Args:
        path: Directory.
    """
    for directory, _, files in os.walk(path, topdown=False):
        for name in files:
            sync_one(os.path.join(directory, name))
        sync_one(directory)


def sync_one(path: str) -> None:
    """Makes one file, or the entries of one directory, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        failpoints.hit("saved_model_files.before_fsync")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rename_inputs(signature, names: Mapping[str, str]) -> None:
    copies = {}
    for traced, info in signature.inputs.items():
        copies[names[traced]] = type(info)()
        copies[names[traced]].CopyFrom(info)
    signature.inputs.clear()
    for name, info in copies.items():
        signature.inputs[name].CopyFrom(info)


def _rename_keywords(node, names: Mapping[str, str]) -> None:
    if node.WhichOneof("kind") != "bare_concrete_function":
        return
    function = node.bare_concrete_function
    keywords = [names.get(k, k) for k in function.argument_keywords]
    del function.argument_keywords[:]
    function.argument_keywords.extend(keywords)
