"""The small model server: TensorFlow Serving's protocol on one machine."""

from monolith_tf.serving.server.model_server import ModelServer
from monolith_tf.serving.server.model_server import PortInUseError

__all__ = ["ModelServer", "PortInUseError"]
