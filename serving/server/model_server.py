"""The server: ports, threads, and polls of version directories."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Mapping
from concurrent import futures

import grpc
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import prediction_service_pb2_grpc
from werkzeug import serving as werkzeug_serving

from monolith_tf.errors import MonolithError
from monolith_tf.serving.server import grpc_services
from monolith_tf.serving.server import model as model_lib
from monolith_tf.serving.server import rest

_NUM_GRPC_THREADS = 16
_STOP_GRACE_SECONDS = 5.0

_logger = logging.getLogger(__name__)


class PortInUseError(MonolithError):
    """The port is in use, or the host is not local."""

    def __init__(self, what: str, host: str, port: int, reason: str):
        """Makes the message from the port and the reason."""
        super().__init__(
            f"{what} port {host}:{port} cannot be opened: {reason}. Choose "
            "another port, or 0 for any free one."
        )


class ModelServer:
    """Serves SavedModels over gRPC and REST until closed.

    For laptops, tests and the demo; production runs TensorFlow Serving on the
    same export. It needs no Keras.

    Args:
        models: Base path (directory of version directories) by model name.
        host: Address to listen on.
        port: The gRPC port; 0 for a free one.
        rest_api_port: The REST port; 0 for a free one, None for none.
        poll_seconds: Interval between polls of the version directories.

    Attributes:
        port: The gRPC port that is open.
        rest_api_port: The REST port that is open, or None.

    Raises:
        PortInUseError: A port is in use.

    Example:
    ```python
    with ModelServer({"ranker": "/models/ranker"}, port=0) as server:
        client = PredictionClient(f"127.0.0.1:{server.port}")
    ```
    """

    def __init__(
        self,
        models: Mapping[str, str],
        host: str = "127.0.0.1",
        port: int = 8500,
        rest_api_port: int | None = None,
        poll_seconds: float = 0.25,
    ):
        """Opens the ports and loads the newest versions before it returns."""
        if not models:
            raise ValueError(
                "`models` must name at least one model. Received: {}."
            )
        if poll_seconds <= 0:
            raise ValueError(
                f"`poll_seconds` must be positive. Received: {poll_seconds}."
            )
        self.models = {
            name: model_lib.Model(name, path) for name, path in models.items()
        }
        self._poll_seconds = poll_seconds
        self._stop = threading.Event()
        self._closing = contextlib.ExitStack()
        try:
            # Ports first, so that a used one raises before the load.
            self._open_grpc(host, port)
            self._open_rest(host, rest_api_port)
            self._poll()
            self._start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stops calls (within 5 s), and closes ports, threads and models."""
        self._stop.set()
        self._closing.close()

    def __enter__(self) -> ModelServer:
        """Returns the server itself."""
        return self

    def __exit__(self, *_) -> None:
        """Closes the server."""
        self.close()

    def _open_grpc(self, host: str, port: int) -> None:
        executor = futures.ThreadPoolExecutor(
            _NUM_GRPC_THREADS, thread_name_prefix="grpc"
        )
        self._closing.callback(executor.shutdown)
        self._grpc = grpc.server(
            executor,
            options=(
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", -1),
                # Otherwise a second server would share the port silently.
                ("grpc.so_reuseport", 0),
            ),
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            grpc_services.PredictionService(self.models), self._grpc
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            grpc_services.ModelService(self.models), self._grpc
        )
        # gRPC logs lines about a used port; a socket raises.
        _listen("gRPC", host, port).close()
        self.port = self._grpc.add_insecure_port(f"{host}:{port}")
        self._closing.callback(self._grpc.stop, None)

    def _open_rest(self, host: str, port: int | None) -> None:
        self.rest_api_port = None
        self._rest = None
        if port is None:
            return
        # werkzeug exits the process when a port is in use; a socket raises.
        listener = _listen("REST", host, port)
        self._closing.callback(listener.close)
        self.rest_api_port = listener.getsockname()[1]
        self._rest = werkzeug_serving.make_server(
            host,
            self.rest_api_port,
            rest.RestApi(self.models),
            threaded=True,
            request_handler=rest.QuietHandler,
            fd=listener.fileno(),
        )
        self._rest.daemon_threads = True
        self._closing.callback(self._rest.server_close)

    def _start(self) -> None:
        for model in self.models.values():
            self._closing.callback(model.close)
        self._grpc.start()
        self._closing.callback(
            lambda: self._grpc.stop(_STOP_GRACE_SECONDS).wait()
        )
        if self._rest is not None:
            self._run_thread("rest", self._rest.serve_forever)
            self._closing.callback(self._rest.shutdown)
        watch = self._run_thread("watch versions", self._watch)
        self._closing.callback(watch.join)

    def _run_thread(self, name: str, target) -> threading.Thread:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        return thread

    def _watch(self) -> None:
        while not self._stop.wait(self._poll_seconds):
            self._poll()

    def _poll(self) -> None:
        for model in self.models.values():
            try:
                model.poll()
            except Exception:  # One model must not stop the watch of others.
                _logger.exception("Watching %r failed", model.base_path)


def _listen(what: str, host: str, port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise PortInUseError(
            what, host, port, error.strerror or str(error)
        ) from error
    return listener
