"""A small model server with TensorFlow Serving's protocol.

Imports `errors`; models are SavedModels of stock ops. Start with
`model_server.py`.
"""

from monolith_tf.serving.server.model_server import ModelServer
from monolith_tf.serving.server.model_server import PortInUseError

__all__ = ["ModelServer", "PortInUseError"]
