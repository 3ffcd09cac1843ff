"""Predict, GetModelMetadata and GetModelStatus as TensorFlow Serving's."""

import grpc
import numpy as np
import pytest

from monolith_tf.serving.client import ServingCallError


def inputs(ids=(1, 2)):
    return {
        "ids": np.array(ids, np.int64),
        "weights": np.ones((len(ids), 2), np.float32),
    }


@pytest.fixture
def server(write_model, serve):
    return serve(write_model(3, factor=10))


def refused(server, code, match, *arguments, **keywords):
    with pytest.raises(ServingCallError, match=match) as caught:
        server.client.predict(*arguments, **keywords)
    assert caught.value.code == code


def test_predict_answers_with_outputs_and_version(server):
    reply = server.client.predict("scale", inputs())
    assert reply.version == 3
    np.testing.assert_array_equal(reply.outputs["score"], [12, 22])


def test_output_filter_leaves_the_other_outputs_out(server):
    reply = server.client.predict("scale", inputs(), output_filter=["ids"])
    assert list(reply.outputs) == ["ids"]


def test_strings_travel_as_bytes(server):
    reply = server.client.predict(
        "scale", {"x": np.array([b"\xff", b"b"], object)}, "words"
    )
    assert reply.outputs["joined_bytes"].tolist() == [b"\xff\xff", b"bb"]


def test_state_lives_on_between_calls(server):
    for expected in (2, 4):
        reply = server.client.predict(
            "scale", {"x": np.zeros((1, 2), np.int64)}, "count"
        )
        assert reply.outputs["calls"] == [expected]


def test_unknown_model_is_not_found(server):
    code = grpc.StatusCode.NOT_FOUND
    refused(server, code, r"no model 'rank'. Served: \['scale'\]", "rank", {})


def test_unknown_version_is_not_found(server):
    code = grpc.StatusCode.NOT_FOUND
    match = r"Version 4 of model 'scale' is not loaded. Loaded: \[3\]"
    refused(server, code, match, "scale", inputs(), version=4)


def test_unknown_signature_is_not_found(server):
    code = grpc.StatusCode.NOT_FOUND
    match = "'half', 'serving_default', 'words'.*Received: 'quarter'"
    refused(server, code, match, "scale", inputs(), "quarter")


def test_wrong_input_names_are_invalid(server):
    code = grpc.StatusCode.INVALID_ARGUMENT
    match = r"Missing: \['weights'\]; unknown: \['wieghts'\]\.$"
    wrong = {"ids": np.zeros(1, np.int64), "wieghts": np.zeros((1, 2), "f4")}
    refused(server, code, match, "scale", wrong)


def test_wrong_dtype_is_invalid(server):
    code = grpc.StatusCode.INVALID_ARGUMENT
    wrong = {**inputs(), "ids": np.zeros(2, np.int32)}
    refused(
        server, code, "'ids'.*must be int64. Received: int32", "scale", wrong
    )
    wrong = {**inputs(), "ids": np.array([b"1"], object)}
    refused(server, code, "must be int64. Received: string", "scale", wrong)


def test_wrong_shape_is_invalid(server):
    code = grpc.StatusCode.INVALID_ARGUMENT
    wrong = {**inputs(), "weights": np.zeros((2, 3), np.float32)}
    match = r"'weights'.*shape \(None, 2\). Received: \(2, 3\)"
    refused(server, code, match, "scale", wrong)


def test_unknown_output_is_invalid(server):
    refused(
        server,
        grpc.StatusCode.INVALID_ARGUMENT,
        r"Received: \['scores'\]",
        "scale",
        inputs(),
        output_filter=["scores"],
    )


def test_a_model_that_fails_gives_its_own_code(server):
    code = grpc.StatusCode.INVALID_ARGUMENT
    refused(server, code, "half", "scale", {"x": np.array(3)}, "half")


def test_metadata_has_every_signature(server):
    signatures = server.client.metadata("scale")
    assert sorted(signatures) == ["count", "half", "serving_default", "words"]
    assert sorted(signatures["serving_default"].inputs) == ["ids", "weights"]


def test_status_of_a_served_model(server):
    (status,) = server.client.status("scale")
    assert (status.version, status.state) == (3, "AVAILABLE")


def test_status_of_an_unknown_version_is_not_found(server):
    with pytest.raises(ServingCallError, match="Version 9 .* not known"):
        server.client.status("scale", 9)


def test_a_message_of_many_mebibytes_passes(server):
    n = 2 << 20  # 16 MiB of ids; gRPC's own limit is 4
    reply = server.client.predict("scale", inputs(np.zeros(n, np.int64)))
    assert reply.outputs["score"].shape == (n,)


def test_several_models_are_served_side_by_side(write_model, serve):
    server = serve({"a": write_model(1, 10, "a"), "b": write_model(2, 20, "b")})
    a = server.client.predict("a", inputs([1]))
    b = server.client.predict("b", inputs([1]))
    assert (a.version, b.version) == (1, 2)
    assert (a.outputs["score"], b.outputs["score"]) == (12, 22)
