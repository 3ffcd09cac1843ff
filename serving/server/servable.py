"""One loaded version of a model.

It has its own graph and session, as in TensorFlow Serving's C++: restore, run
the init op, then run signatures. So two versions share no state, and an
unloaded one frees its memory.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence

import grpc
import numpy as np
import tensorflow as tf

from monolith_tf.serving.server import errors

_INIT_SIGNATURES = frozenset({"__saved_model_init_op"})


class UnloadedError(errors.RequestError):
    """The version was unloaded before the call began."""


class _Signature:
    """Checks the inputs of one signature and runs it."""

    def __init__(self, name, definition, session):
        self.definition = definition
        self._name = name
        self._session = session
        # Sorted, so that calls with the same names use the same callable.
        self._inputs = {
            key: _Input(key, definition.inputs[key], session.graph)
            for key in sorted(definition.inputs)
        }
        self._outputs = {
            key: session.graph.as_graph_element(definition.outputs[key].name)
            for key in sorted(definition.outputs)
        }
        self._run_all = session.make_callable(
            list(self._outputs.values()),
            feed_list=[one.tensor for one in self._inputs.values()],
        )

    def run(
        self, inputs: Mapping[str, np.ndarray], output_filter: Sequence[str]
    ) -> dict[str, np.ndarray]:
        if inputs.keys() != self._inputs.keys():
            missing = sorted(self._inputs.keys() - inputs.keys())
            unknown = sorted(inputs.keys() - self._inputs.keys())
            raise errors.invalid(
                f"Signature {self._name!r} needs the inputs "
                f"{sorted(self._inputs)}. Missing: {missing}; unknown: "
                f"{unknown}."
            )
        feeds = [
            one.checked(inputs[key], self._name)
            for key, one in self._inputs.items()
        ]
        if not output_filter:
            return dict(zip(self._outputs, self._run_all(*feeds), strict=True))
        unknown = sorted(set(output_filter) - self._outputs.keys())
        if unknown:
            raise errors.invalid(
                f"Signature {self._name!r} has the outputs "
                f"{sorted(self._outputs)}. Received: {unknown}."
            )
        return self._session.run(
            {key: self._outputs[key] for key in output_filter},
            {
                one.tensor: feed
                for one, feed in zip(self._inputs.values(), feeds, strict=True)
            },
        )


class _Input:
    def __init__(self, key, info, graph):
        self.tensor = graph.as_graph_element(info.name)
        self._key = key
        self._dtype = tf.as_dtype(info.dtype)
        self._shape = tf.TensorShape(info.tensor_shape)

    def checked(self, value: np.ndarray, signature: str) -> np.ndarray:
        expected = self._dtype.as_numpy_dtype
        is_string = value.dtype.kind in "OSU"
        if is_string != (expected is object) or (
            not is_string and value.dtype != expected
        ):
            raise errors.invalid(
                f"Input {self._key!r} of signature {signature!r} must be "
                f"{self._dtype.name}. Received: "
                f"{'string' if is_string else value.dtype.name}."
            )
        if not self._shape.is_compatible_with(value.shape):
            raise errors.invalid(
                f"Input {self._key!r} of signature {signature!r} must have "
                f"shape {self._shape}. Received: {value.shape}."
            )
        return value


class Servable:
    """One version of a model, ready to run its signatures.

    Thread-safe. `close` waits for running calls.

    Args:
        name: Name of the model in errors.
        version: Number of the version.
        path: Directory of the SavedModel.
    """

    def __init__(self, name: str, version: int, path: str):
        """Loads the version, until it is ready."""
        self.name = name
        self.version = version
        self.path = path
        self._idle = threading.Condition()
        self._num_running = 0
        self._closed = False
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        try:
            with self._session.graph.as_default():
                meta_graph = tf.compat.v1.saved_model.load(
                    self._session, [tf.saved_model.SERVING], path
                )
                self._signatures = {
                    key: _Signature(key, definition, self._session)
                    for key, definition in meta_graph.signature_def.items()
                    if key not in _INIT_SIGNATURES
                }
        except BaseException:
            self._session.close()
            raise

    @property
    def signature_definitions(self) -> dict:
        """`SignatureDef` protos by name."""
        return {
            name: signature.definition
            for name, signature in self._signatures.items()
        }

    def signature_definition(self, signature_name: str):
        """Returns the `SignatureDef` of one signature.

        Raises:
            RequestError: NOT_FOUND, with the existing signatures.
        """
        return self._signature(signature_name).definition

    def run(
        self,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        output_filter: Sequence[str] = (),
    ) -> dict[str, np.ndarray]:
        """Runs one signature.

        Raises:
            RequestError: Names, dtypes or shapes are wrong, or the model
                failed.
        """
        signature = self._signature(signature_name)
        with self._running():
            try:
                return signature.run(inputs, output_filter)
            except tf.errors.OpError as error:
                raise errors.RequestError.from_op_error(error) from error

    def close(self) -> None:
        """Waits for running calls, then frees the version."""
        with self._idle:
            self._closed = True
            self._idle.wait_for(lambda: self._num_running == 0)
        self._session.close()
        self._signatures = {}

    def _signature(self, name: str) -> _Signature:
        try:
            return self._signatures[name]
        except KeyError:
            raise errors.not_found(
                f"Model {self.name!r} version {self.version} has the "
                f"signatures {sorted(self._signatures)}. Received: {name!r}."
            ) from None

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        with self._idle:
            if self._closed:
                raise UnloadedError(
                    grpc.StatusCode.NOT_FOUND,
                    f"Version {self.version} of model {self.name!r} was "
                    "unloaded.",
                )
            self._num_running += 1
        try:
            yield
        finally:
            with self._idle:
                self._num_running -= 1
                self._idle.notify_all()
