"""The client against a scripted server: retries, deadlines, errors."""

from concurrent import futures

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

from monolith_tf.serving.client import PredictionClient
from monolith_tf.serving.client import ServingCallError


class Scripted(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Fails with the given codes, one per call; then echoes its inputs."""

    def __init__(self, failures):
        self.failures = list(failures)
        self.requests = []

    def Predict(self, request, context):  # noqa: N802
        self.requests.append(request)
        if self.failures:
            code, details = self.failures.pop(0)
            context.abort(code, details)
        reply = predict_pb2.PredictResponse(outputs=request.inputs)
        reply.model_spec.version.value = 7
        return reply


@pytest.fixture
def scripted():
    """Starts a scripted server; returns it and a client."""
    opened = []

    def start(*failures, **arguments):
        service = Scripted(failures)
        server = grpc.server(futures.ThreadPoolExecutor(2))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            service, server
        )
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        arguments.setdefault("backoff_seconds", 0.001)
        client = PredictionClient(f"127.0.0.1:{port}", **arguments)
        opened.append((server, client))
        return service, client

    yield start
    for server, client in opened:
        client.close()
        server.stop(None).wait()


def test_arrays_go_and_come_back_as_they_were(scripted):
    _, client = scripted()
    inputs = {
        "ids": np.array([[-(2**63), 2**63 - 1]], np.int64),
        "rows": np.array([[np.nan, -0.0, 1.5]], np.float32),
        "words": np.array([b"a\xff", b""], object),
        "none": np.zeros((1, 0), np.float32),
    }
    reply = client.predict("model", inputs)
    assert reply.version == 7
    for name, value in inputs.items():
        assert reply.outputs[name].dtype == value.dtype
        np.testing.assert_array_equal(reply.outputs[name], value)


def test_the_request_names_model_version_signature_and_outputs(scripted):
    service, client = scripted()
    client.predict("ranker", {}, "status", version=3, output_filter=["a"])
    (request,) = service.requests
    assert request.model_spec.name == "ranker"
    assert request.model_spec.version.value == 3
    assert request.model_spec.signature_name == "status"
    assert list(request.output_filter) == ["a"]


def test_without_a_version_the_server_chooses(scripted):
    service, client = scripted()
    client.predict("ranker", {})
    assert not service.requests[0].model_spec.HasField("version")


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    ],
)
def test_retries_until_success(scripted, code):
    service, client = scripted((code, "busy"), (code, "busy"))
    client.predict("model", {})
    assert len(service.requests) == 3


def test_gives_up_after_max_attempts_and_says_so(scripted):
    busy = (grpc.StatusCode.RESOURCE_EXHAUSTED, "8 clients")
    service, client = scripted(busy, busy, max_attempts=2)
    with pytest.raises(ServingCallError, match="RESOURCE_EXHAUSTED: 8 client"):
        client.predict("model", {})
    assert len(service.requests) == 2


def test_a_fatal_error_is_not_retried(scripted):
    service, client = scripted((grpc.StatusCode.NOT_FOUND, "no model"))
    with pytest.raises(ServingCallError, match="no model") as caught:
        client.predict("model", {})
    assert caught.value.code == grpc.StatusCode.NOT_FOUND
    assert len(service.requests) == 1


def test_a_message_that_is_too_large_is_not_retried(scripted):
    service, client = scripted()
    large = np.zeros(5 << 20, np.uint8)  # this server takes gRPC's 4 MiB
    with pytest.raises(ServingCallError, match="larger than max"):
        client.predict("model", {"x": large})
    assert not service.requests


def test_an_unreachable_server_is_named_with_advice():
    with PredictionClient("127.0.0.1:9", max_attempts=1) as client:
        with pytest.raises(
            ServingCallError, match="Expected a model server that answers at "
        ) as caught:
            client.predict("model", {})
    assert caught.value.unreachable
    assert "127.0.0.1:9" in str(caught.value)


def test_waiting_for_a_model_ends_with_what_the_server_said():
    with PredictionClient("127.0.0.1:9", max_attempts=1) as client:
        with pytest.raises(TimeoutError, match="Last answer: .*127.0.0.1:9"):
            client.wait_until_available("model", timeout_seconds=0)


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="max_attempts=0"):
        PredictionClient("localhost:1", max_attempts=0)


def test_tensors_of_any_float_type_come_back(scripted):
    _, client = scripted()
    half = np.array([1.5], tf.bfloat16.as_numpy_dtype)
    reply = client.predict("model", {"x": half})
    assert reply.outputs["x"].dtype == half.dtype
