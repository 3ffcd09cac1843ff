"""The REST API, in TensorFlow Serving's words."""

import json
import math
import urllib.error
import urllib.request

import pytest

from processes import DEADLINE_SECONDS


@pytest.fixture
def call(write_model, serve):
    server = serve(write_model(3, factor=10), rest_api_port=0)

    def call(path, body=None, raw=None):
        data = raw if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{server.rest_api_port}/v1/models/{path}"
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, data), timeout=DEADLINE_SECONDS
            ) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    return call


ROW = {"ids": 1, "weights": [1, 1]}


def test_predict_by_rows(call):
    status, answer = call("scale:predict", {"instances": [ROW, ROW]})
    assert status == 200
    assert answer["predictions"] == [{"ids": 1.0, "score": 12.0}] * 2


def test_predict_by_columns_and_version(call):
    status, answer = call(
        "scale/versions/3:predict",
        {"inputs": {"ids": [2**24], "weights": [[0, 0]]}},
    )
    assert (status, answer["outputs"]["ids"]) == (200, [2.0**24])


def test_one_input_and_one_output_need_no_names(call):
    status, answer = call(
        "scale:predict",
        {"signature_name": "words", "instances": ["a", {"b64": "/w=="}]},
    )
    assert status == 200
    assert answer == {"predictions": [{"b64": "YWE="}, {"b64": "//8="}]}


def test_int64_ids_lose_nothing(call):
    status, answer = call(
        "scale:predict",
        {"signature_name": "half", "inputs": {"x": -(2**63)}},
    )
    assert (status, answer) == (200, {"outputs": -(2**62)})


def test_not_a_number_passes_both_ways(call):
    _, answer = call(
        "scale:predict", {"instances": [{"ids": 1, "weights": [math.nan, 1]}]}
    )
    assert math.isnan(answer["predictions"][0]["score"])


def test_status(call):
    assert call("scale") == (
        200,
        {
            "model_version_status": [
                {
                    "version": "3",
                    "state": "AVAILABLE",
                    "status": {"error_code": "OK", "error_message": ""},
                }
            ]
        },
    )


def test_metadata(call):
    status, answer = call("scale/versions/3/metadata")
    assert (status, answer["model_spec"]["version"]) == (200, "3")
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_default"]["inputs"]["ids"]["dtype"] == "DT_INT64"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("rank:predict", {"instances": [ROW]}, 404, "no model 'rank'"),
        ("scale/versions/4:predict", {"instances": [ROW]}, 404, "Version 4"),
        ("scale:classify", {"instances": [ROW]}, 404, "scale:classify"),
        ("scale:predict", {}, 400, "either `instances` or `inputs`"),
        ("scale:predict", [1], 400, "must be a JSON object"),
        ("scale:predict", {"instances": []}, 400, "at least one example"),
        ("scale:predict", {"instances": [1]}, 400, "['ids', 'weights']"),
        ("scale:predict", {"instances": [{"ids": 1}]}, 400, "Instance 0 has"),
        ("scale:predict", {"inputs": {"ids": [1]}}, 400, "Received: ['ids']"),
        (
            "scale:predict",
            {"instances": [{**ROW, "ids": 1.5}]},
            400,
            "'ids' must be int64. Received: 1.5",
        ),
        (
            "scale:predict",
            {"instances": [{**ROW, "ids": 2**63}]},
            400,
            "'ids' must be int64",
        ),
        (
            "scale:predict",
            {"instances": [ROW, {**ROW, "weights": [1]}]},
            400,
            "different lengths in dimension 1: [1, 2]",
        ),
        (
            "scale:predict",
            {"instances": [ROW], "signature_name": "quarter"},
            404,
            "Received: 'quarter'",
        ),
    ],
)
def test_a_wrong_request_is_told_why(call, path, body, status, message):
    answered, answer = call(path, body)
    assert answered == status
    assert message in answer["error"]


def test_what_is_not_json_is_told_so(call):
    status, answer = call("scale:predict", raw=b"{instances")
    assert status == 400
    assert "not JSON" in answer["error"]
