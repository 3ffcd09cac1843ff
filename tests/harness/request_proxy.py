"""Forwards gRPC calls as messages: repeats, delays or loses whole calls.

A TCP proxy cannot repeat a request of HTTP/2; this one is a server and a
client. Messages pass as bytes, so it fits any service of unary calls.
"""

from __future__ import annotations

import collections
import threading
from concurrent import futures

import grpc

_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A server that comes back is found at once.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 500),
)


class RequestProxy(grpc.GenericRpcHandler):
    """Forwards unary calls to one address.

    Args:
        target: "host:port" of the server.

    Attributes:
        address: "host:port" to connect to instead.
        injected: Number of faults by kind.
    """

    def __init__(self, target: str):
        """Listens on a free port of this machine."""
        self.injected = collections.Counter()
        self._lock = threading.Lock()
        # Kind of fault -> calls that it will still strike.
        self._left = collections.Counter()
        self._late: list[tuple[str, bytes]] = []
        self._channel = grpc.insecure_channel(target, options=_OPTIONS)
        self._server = grpc.server(
            futures.ThreadPoolExecutor(8), handlers=(self,), options=_OPTIONS
        )
        port = self._server.add_insecure_port("localhost:0")
        self.address = f"localhost:{port}"
        self._server.start()

    def repeat_next(self, calls: int = 1) -> None:
        """Sends each of the next calls twice; the client sees one reply."""
        self._add("repeat", calls)

    def repeat_next_late(self, calls: int = 1) -> None:
        """Keeps copies of the next calls, which `send_late` sends again."""
        self._add("repeat late", calls)

    def lose_next_request(self, calls: int = 1) -> None:
        """Answers the next calls with UNAVAILABLE and sends nothing."""
        self._add("lose request", calls)

    def lose_next_reply(self, calls: int = 1) -> None:
        """Sends the next calls and answers with UNAVAILABLE."""
        self._add("lose reply", calls)

    def send_late(self) -> int:
        """Sends the kept copies again; returns their number."""
        with self._lock:
            late, self._late = self._late, []
        for method, request in late:
            self._call(method, request)
        return len(late)

    def close(self) -> None:
        """Ends calls and closes the port."""
        self._server.stop(None).wait()
        self._channel.close()

    def __enter__(self) -> RequestProxy:
        """Returns the proxy itself."""
        return self

    def __exit__(self, *_) -> None:
        """Closes the proxy."""
        self.close()

    def service(self, handler_call_details):
        """Implements `grpc.GenericRpcHandler`: any method is forwarded."""
        method = handler_call_details.method

        def forward(request, context):
            try:
                return self._forward(method, request)
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())
            except ConnectionError as error:
                context.abort(grpc.StatusCode.UNAVAILABLE, str(error))

        return grpc.unary_unary_rpc_method_handler(forward)

    def _add(self, kind: str, calls: int) -> None:
        with self._lock:
            self._left[kind] += calls

    def _strikes(self, kind: str) -> bool:
        with self._lock:
            if not self._left[kind]:
                return False
            self._left[kind] -= 1
            self.injected[kind] += 1
            return True

    def _forward(self, method: str, request: bytes) -> bytes:
        if self._strikes("lose request"):
            raise ConnectionError("the request was lost")
        if self._strikes("repeat late"):
            with self._lock:
                self._late.append((method, request))
        if self._strikes("repeat"):
            self._call(method, request)
        reply = self._call(method, request)
        if self._strikes("lose reply"):
            raise ConnectionError("the reply was lost")
        return reply

    def _call(self, method: str, request: bytes) -> bytes:
        return self._channel.unary_unary(method)(request)
