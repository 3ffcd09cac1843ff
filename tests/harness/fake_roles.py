"""Servers that answer heartbeats late, wrongly or never."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent import futures

import grpc

METHOD = "/tensorflow.WorkerService/GetStatus"


class StatusServer(grpc.GenericRpcHandler):
    """A gRPC server that answers the status of a TensorFlow server.

    Attributes:
        port: Port of this machine that it listens on.
        address: "host:port" of the server.
        may_answer: Cleared, it makes calls wait until it is set.
        asked: Number of calls so far.
    """

    def __init__(self):
        """Listens on a free port of this machine."""
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.asked = 0
        self._server = grpc.server(
            futures.ThreadPoolExecutor(8), handlers=(self,)
        )
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self.address = f"127.0.0.1:{self.port}"
        self._server.start()

    def service(self, handler_call_details):
        """Implements `grpc.GenericRpcHandler`."""
        if handler_call_details.method != METHOD:
            return None

        def answer(request, context):
            del request, context
            self.asked += 1
            self.may_answer.wait()
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)

    def close(self) -> None:
        """Ends all calls and closes the port."""
        self.may_answer.set()
        self._server.stop(None).wait()

    def __enter__(self) -> StatusServer:
        """Returns itself."""
        return self

    def __exit__(self, *_) -> None:
        """Closes the server."""
        self.close()


@contextlib.contextmanager
def silent_listener() -> Iterator[str]:
    """The address of a port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def full_listener(port: int = 0) -> Iterator[str]:
    """The address of a port, by default any free one, whose queue is full.

    The kernel drops requests for more connections, as a network does that is
    cut: they never open, and nothing refuses them.
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def hasty_listener() -> Iterator[str]:
    """The address of a port that closes each connection at once."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)

    def refuse():
        while True:
            try:
                listener.accept()[0].close()
            except OSError:
                return

    thread = threading.Thread(target=refuse, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
