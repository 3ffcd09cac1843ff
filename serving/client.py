"""A thin client of TensorFlow Serving's protocol: NumPy in, NumPy out.

It works with TensorFlow Serving and with the small model server.
"""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Iterable
from collections.abc import Mapping

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

from monolith_tf.errors import DeliveryError

RETRIED_CODES = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)
# gRPC returns RESOURCE_EXHAUSTED for this too, and it is permanent.
_TOO_LARGE = "larger than max"

_CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # With gRPC's default of 2 minutes a restarted server would wait.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class ServingCallError(DeliveryError):
    """A call that the model server refused or did not answer.

    Attributes:
        code: The `grpc.StatusCode`.
        details: Message of the server.
    """

    def __init__(self, address: str, call: str, error: grpc.RpcError):
        """Makes the message from the call and its error."""
        self.code = error.code()
        self.details = error.details() or ""
        hint = ""
        if self.unreachable:
            hint = (
                f" Expected a model server that answers at {address}; check "
                "that it runs, and that address and port (its gRPC port) are "
                "right."
            )
        super().__init__(
            f"{call} at {address} failed with {self.code.name}: "
            f"{self.details.rstrip('.')}.{hint}"
        )

    @property
    def unreachable(self) -> bool:
        """True if the same call may succeed later."""
        return _is_worth_retrying(self.code, self.details)


@dataclasses.dataclass(frozen=True)
class PredictReply:
    """Outputs by name, and the version of the model that computed them."""

    outputs: dict[str, np.ndarray]
    version: int


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """One version of a model on the server.

    Args:
        version: Number of the version.
        state: "START", "LOADING", "AVAILABLE", "UNLOADING" or "END".
        error_message: The error of a failed load, or "".
    """

    version: int
    state: str
    error_message: str


class PredictionClient:
    """Calls one model server; safe to use from several threads.

    Args:
        address: "host:port" of the server's gRPC port.
        timeout_seconds: Deadline of one attempt.
        max_attempts: Attempts of one call; UNAVAILABLE, RESOURCE_EXHAUSTED and
            DEADLINE_EXCEEDED are retried. A call that exceeds its deadline may
            have run, so retry only calls that may run twice.
        backoff_seconds: Wait before the second attempt. It doubles per attempt
            to at most 2 s, less a random part of up to half.

    Example:
    ```python
    with PredictionClient("localhost:8500") as client:
        reply = client.predict("ranker", {"movie_id": np.array([1, 2])})
        print(reply.version, reply.outputs)
    ```
    """

    def __init__(
        self,
        address: str,
        timeout_seconds: float = 10.0,
        max_attempts: int = 5,
        backoff_seconds: float = 0.05,
    ):
        """Connects at the first call."""
        if timeout_seconds <= 0 or max_attempts < 1 or backoff_seconds < 0:
            raise ValueError(
                "`timeout_seconds` must be positive, `max_attempts` at least "
                "1, `backoff_seconds` not negative. Received: "
                f"timeout_seconds={timeout_seconds}, "
                f"max_attempts={max_attempts}, "
                f"backoff_seconds={backoff_seconds}."
            )
        self.address = address
        self._timeout_seconds = timeout_seconds
        self._max_attempts = max_attempts
        self._backoff_seconds = backoff_seconds
        self._channel = grpc.insecure_channel(address, _CHANNEL_OPTIONS)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(
            self._channel
        )
        self._model = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def predict(
        self,
        model_name: str,
        inputs: Mapping[str, np.ndarray],
        signature_name: str = "serving_default",
        version: int | None = None,
        output_filter: Iterable[str] = (),
    ) -> PredictReply:
        """Runs one signature.

        Args:
            model_name: Name of the model on the server.
            inputs: Arrays by input name, in the dtypes of the signature.
            signature_name: Name of the signature.
            version: Version to call; None for the server's choice.
            output_filter: Names of the wanted outputs; empty means all.

        Returns:
            The outputs and the version that answered.

        Raises:
            ServingCallError: The server rejected the call, or no attempt
                reached it.
        """
        request = predict_pb2.PredictRequest()
        _fill_model_spec(request.model_spec, model_name, version)
        request.model_spec.signature_name = signature_name
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        request.output_filter.extend(output_filter)
        reply = self._call(
            f"Predict of {model_name}:{signature_name}",
            self._prediction.Predict,
            request,
        )
        return PredictReply(
            outputs={
                name: tf.make_ndarray(value)
                for name, value in reply.outputs.items()
            },
            version=reply.model_spec.version.value,
        )

    def metadata(self, model_name: str, version: int | None = None):
        """Returns the signatures of a model: `SignatureDef` by name.

        Raises:
            ServingCallError: See `predict`.
        """
        request = get_model_metadata_pb2.GetModelMetadataRequest()
        _fill_model_spec(request.model_spec, model_name, version)
        request.metadata_field.append("signature_def")
        reply = self._call(
            f"GetModelMetadata of {model_name}",
            self._prediction.GetModelMetadata,
            request,
        )
        signatures = get_model_metadata_pb2.SignatureDefMap()
        reply.metadata["signature_def"].Unpack(signatures)
        return dict(signatures.signature_def)

    def status(
        self, model_name: str, version: int | None = None
    ) -> list[VersionStatus]:
        """Returns the versions that the server knows, newest first.

        Raises:
            ServingCallError: See `predict`; NOT_FOUND for an unknown model.
        """
        request = get_model_status_pb2.GetModelStatusRequest()
        _fill_model_spec(request.model_spec, model_name, version)
        reply = self._call(
            f"GetModelStatus of {model_name}",
            self._model.GetModelStatus,
            request,
        )
        states = get_model_status_pb2.ModelVersionStatus.State
        return sorted(
            (
                VersionStatus(
                    version=status.version,
                    state=states.Name(status.state),
                    error_message=status.status.error_message,
                )
                for status in reply.model_version_status
            ),
            key=lambda status: -status.version,
        )

    def wait_until_available(
        self,
        model_name: str,
        version: int | None = None,
        timeout_seconds: float = 60.0,
    ) -> int:
        """Waits until the server serves a model.

        Args:
            model_name: Name of the model on the server.
            version: The version to wait for; None takes any.
            timeout_seconds: Longest wait.

        Returns:
            The (newest) version that is available.

        Raises:
            TimeoutError: The model is not available in time; the message has
                the last answer.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                statuses = self.status(model_name, version)
                seen = str(statuses)
                for status in statuses:
                    if status.state == "AVAILABLE":
                        return status.version
            except ServingCallError as error:
                if not error.unreachable and (
                    error.code != grpc.StatusCode.NOT_FOUND
                ):
                    raise
                seen = str(error)
            if time.monotonic() > deadline:
                wanted = (
                    model_name
                    if version is None
                    else (f"{model_name} version {version}")
                )
                raise TimeoutError(
                    f"{wanted} is not available at {self.address} after "
                    f"{timeout_seconds:.0f} s. Last answer: {seen}"
                )
            time.sleep(0.05)

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def __enter__(self) -> PredictionClient:
        """Returns the client itself."""
        return self

    def __exit__(self, *_) -> None:
        """Closes the connection."""
        self.close()

    def _call(self, what: str, method, request):
        wait = self._backoff_seconds
        for attempt in range(1, self._max_attempts + 1):
            try:
                return method(request, timeout=self._timeout_seconds)
            except grpc.RpcError as error:
                failure = ServingCallError(self.address, what, error)
                if not failure.unreachable or attempt == self._max_attempts:
                    raise failure from error
            # Not for secrets: keeps clients from retrying at the same time.
            time.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(2 * wait, 2.0)
        raise RuntimeError("unreachable")


def _is_worth_retrying(code: grpc.StatusCode, details: str) -> bool:
    return code in RETRIED_CODES and _TOO_LARGE not in details


def _fill_model_spec(spec, model_name: str, version: int | None) -> None:
    spec.name = model_name
    if version is not None:
        spec.version.value = version
