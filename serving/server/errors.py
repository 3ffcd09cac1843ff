"""What can go wrong with a request, with the code that both protocols use."""

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
    """A request that gets an error as its answer.

    Args:
        code: The gRPC status.
        message: What was received, what was expected.
    """

    def __init__(self, code: grpc.StatusCode, message: str):
        """Keeps code and message."""
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def http_status(self) -> int:
        """The same on the REST port."""
        return _HTTP_STATUS.get(self.code, 500)

    @classmethod
    def from_op_error(cls, error: tf.errors.OpError) -> RequestError:
        """TensorFlow numbers its errors like gRPC."""
        code = _CODES.get(error.error_code, grpc.StatusCode.INTERNAL)
        return cls(code, error.message or str(error))


def invalid(message: str) -> RequestError:
    """A request that can never be right."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> RequestError:
    """A model, version or signature that is not there."""
    return RequestError(grpc.StatusCode.NOT_FOUND, message)
