"""TensorFlow Serving's gRPC services over the loaded models."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping

import grpc
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

from monolith_tf.serving.server import errors
from monolith_tf.serving.server import model as model_lib

_SIGNATURE_FIELD = "signature_def"
_DEFAULT_SIGNATURE = "serving_default"


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata; other calls return UNIMPLEMENTED."""

    def __init__(self, models: Mapping[str, model_lib.Model]):
        """Keeps the models, by name."""
        self._models = models

    def Predict(self, request, context):  # noqa: N802
        """Runs a signature."""
        return _answer(context, lambda: self._predict(request))

    def GetModelMetadata(self, request, context):  # noqa: N802
        """Returns the signatures of one version."""
        return _answer(context, lambda: self._metadata(request))

    def _predict(self, request):
        model, version = _model(self._models, request.model_spec)
        signature = request.model_spec.signature_name or _DEFAULT_SIGNATURE
        inputs = {
            name: _ndarray(name, value)
            for name, value in request.inputs.items()
        }
        version, outputs = model.run(
            version, signature, inputs, list(request.output_filter)
        )
        reply = predict_pb2.PredictResponse()
        reply.model_spec.name = model.name
        reply.model_spec.version.value = version
        reply.model_spec.signature_name = signature
        for name, value in outputs.items():
            reply.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return reply

    def _metadata(self, request):
        fields = list(request.metadata_field)
        if fields != [_SIGNATURE_FIELD]:
            raise errors.invalid(
                f"`metadata_field` must be [{_SIGNATURE_FIELD!r}]. Received: "
                f"{fields}."
            )
        model, version = _model(self._models, request.model_spec)
        servable = model.servable(version)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in servable.signature_definitions.items():
            signatures.signature_def[name].CopyFrom(definition)
        reply = get_model_metadata_pb2.GetModelMetadataResponse()
        reply.model_spec.name = servable.name
        reply.model_spec.version.value = servable.version
        reply.metadata[_SIGNATURE_FIELD].Pack(signatures)
        return reply


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus; HandleReloadConfigRequest returns UNIMPLEMENTED."""

    def __init__(self, models: Mapping[str, model_lib.Model]):
        """Keeps the models, by name."""
        self._models = models

    def GetModelStatus(self, request, context):  # noqa: N802
        """Returns the state of every version, or of the requested one."""
        return _answer(context, lambda: self._status(request))

    def _status(self, request):
        model, version = _model(self._models, request.model_spec)
        reply = get_model_status_pb2.GetModelStatusResponse()
        for state in model.states(version):
            status = reply.model_version_status.add()
            status.version = state.version
            status.state = get_model_status_pb2.ModelVersionStatus.State.Value(
                state.state
            )
            if state.error_message:
                status.status.error_code = grpc.StatusCode.UNKNOWN.value[0]
                status.status.error_message = state.error_message
        return reply


def _model(models, spec) -> tuple[model_lib.Model, int | None]:
    if not spec.name:
        raise errors.invalid(
            f"`model_spec.name` is missing. Expected one of {sorted(models)}."
        )
    if spec.version_label:
        raise errors.RequestError(
            grpc.StatusCode.UNIMPLEMENTED,
            "Version labels are not supported by this server. Received: "
            f"{spec.version_label!r}. Name a version instead.",
        )
    version = spec.version.value if spec.HasField("version") else None
    return model_lib.find(models, spec.name), version


def _ndarray(name: str, value):
    try:
        return tf.make_ndarray(value)
    except (TypeError, ValueError) as error:
        raise errors.invalid(
            f"Input {name!r} is not a valid tensor: {error}"
        ) from error


def _answer(context, compute: Callable):
    try:
        return compute()
    except errors.RequestError as error:
        context.abort(error.code, error.message)
