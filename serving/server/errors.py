"""Errors of requests, with the codes of both protocols."""

from __future__ import annotations

import grpc
import tensorflow as tf

_CODES = {code.value[0]: code for code in grpc.StatusCode}

_HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 412,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
}


class RequestError(Exception):
    """An error that is the reply to a request.

    Args:
        code: The gRPC status.
        message: The received and the expected value.
    """

    def __init__(self, code: grpc.StatusCode, message: str):
        """Keeps code and message."""
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def http_status(self) -> int:
        """Status code on the REST port."""
        return _HTTP_STATUS.get(self.code, 500)

    @classmethod
    def from_op_error(cls, error: tf.errors.OpError) -> RequestError:
        """Converts an error of TensorFlow, which has the codes of gRPC."""
        code = _CODES.get(error.error_code, grpc.StatusCode.INTERNAL)
        return cls(code, error.message or str(error))


def invalid(message: str) -> RequestError:
    """Returns the error of an invalid request."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> RequestError:
    """Returns the error of a missing model, version or signature."""
    return RequestError(grpc.StatusCode.NOT_FOUND, message)
