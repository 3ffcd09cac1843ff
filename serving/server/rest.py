"""TensorFlow Serving's REST API over the loaded models.

```
POST /v1/models/<name>[/versions/<version>]:predict
GET  /v1/models/<name>[/versions/<version>]             status
GET  /v1/models/<name>[/versions/<version>]/metadata
```
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

import werkzeug
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2
from werkzeug import exceptions
from werkzeug import routing
from werkzeug import serving as werkzeug_serving

from monolith_tf.serving.server import errors
from monolith_tf.serving.server import json_tensors
from monolith_tf.serving.server import model as model_lib

_DEFAULT_SIGNATURE = "serving_default"
_MAX_BODY_BYTES = 256 << 20

_logger = logging.getLogger(__name__)


class QuietHandler(werkzeug_serving.WSGIRequestHandler):
    """Keeps connections open, and logs at level debug."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args) -> None:
        """Writes the access log to `logging`."""
        _logger.debug(message, *args)


class _ModelName(routing.BaseConverter):
    """A path segment up to the colon of the verb."""

    regex = "[^/:]+"


class RestApi:
    """The WSGI application.

    Args:
        models: Models by name.
    """

    def __init__(self, models: Mapping[str, model_lib.Model]):
        """Builds the routes."""
        self._models = models
        rules = []
        for base in (
            "/v1/models/<model:name>",
            "/v1/models/<model:name>/versions/<int:version>",
        ):
            rules += [
                routing.Rule(base, methods=["GET"], endpoint="status"),
                routing.Rule(
                    f"{base}/metadata", methods=["GET"], endpoint="metadata"
                ),
                routing.Rule(
                    f"{base}:predict", methods=["POST"], endpoint="predict"
                ),
            ]
        self._urls = routing.Map(rules, converters={"model": _ModelName})
        self._handlers = {
            "status": self._status,
            "metadata": self._metadata,
            "predict": self._predict,
        }

    def __call__(self, environ, start_response):
        """Replies to one request; errors are `{"error": message}`."""
        request = werkzeug.Request(environ)
        request.max_content_length = _MAX_BODY_BYTES
        try:
            endpoint, arguments = self._urls.bind_to_environ(environ).match()
            status, answer = 200, self._handlers[endpoint](request, **arguments)
        except errors.RequestError as error:
            status, answer = error.http_status, {"error": error.message}
        except exceptions.HTTPException as error:
            status = error.code or 500
            answer = {
                "error": f"{request.method} {request.path}: {error.description}"
            }
        except Exception as error:  # A bug gets a reply, too.
            _logger.exception("%s %s failed", request.method, request.path)
            status, answer = 500, {"error": f"{type(error).__name__}: {error}"}
        body = json.dumps(answer) + "\n"
        response = werkzeug.Response(
            body, status=status, content_type="application/json"
        )
        return response(environ, start_response)

    def _predict(self, request, name: str, version: int | None = None):
        model = model_lib.find(self._models, name)
        body = json_tensors.parse_body(request.get_data())
        signature = str(body.get("signature_name", _DEFAULT_SIGNATURE))
        definition = model.servable(version).signature_definition(signature)
        inputs, row_format = json_tensors.decode_inputs(body, definition)
        _, outputs = model.run(version, signature, inputs)
        return json_tensors.encode_outputs(outputs, row_format)

    def _status(self, request, name: str, version: int | None = None):
        model = model_lib.find(self._models, name)
        return {
            "model_version_status": [
                {
                    "version": str(state.version),
                    "state": state.state,
                    "status": {
                        "error_code": "UNKNOWN"
                        if state.error_message
                        else "OK",
                        "error_message": state.error_message,
                    },
                }
                for state in model.states(version)
            ]
        }

    def _metadata(self, request, name: str, version: int | None = None):
        servable = model_lib.find(self._models, name).servable(version)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for key, definition in servable.signature_definitions.items():
            signatures.signature_def[key].CopyFrom(definition)
        return {
            "model_spec": {
                "name": name,
                "signature_name": "",
                "version": str(servable.version),
            },
            "metadata": {
                "signature_def": json_format.MessageToDict(
                    signatures, preserving_proto_field_name=True
                )
            },
        }
