"""A question to a TensorFlow server that every healthy one answers."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import selectors
import socket
import threading
import time

ANSWERS = "answers"
GREETS = "greets"
SILENT = "silent"
REFUSES = "refuses"
UNREACHABLE = "unreachable"

# Every server of TensorFlow has this method, and C++ threads answer it, whoever
# holds the lock of Python.
_METHOD = "/tensorflow.WorkerService/GetStatus"
# Time of an answer before the connection is tried too.
_PROMPT_SECONDS = 1.0
_LEAST_SECONDS = 0.5
# From one look at the call to the next while the connection is tried.
_SLICE_SECONDS = 0.1
# The first bytes of a client of HTTP/2, and its empty settings.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(
    [0, 0, 0, 4, 0] + [0] * 4
)
_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    # Otherwise a new channel gets the broken connection of the old one.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


@dataclasses.dataclass(frozen=True)
class Answer:
    """The result of one question.

    Attributes:
        kind: "answers"; "greets": its network threads work, and the others had
            no time yet; "silent": the connection opens, and nothing comes;
            "refuses": no process listens, or it closes the connection;
            "unreachable": no connection within the time, or no such host.
        seconds: Time of the question.
        detail: The error of the connection, or "".
    """

    kind: str
    seconds: float = 0.0
    detail: str = ""


class Probe:
    """Asks one server for its status, through the port that it serves.

    Questions are not concurrent; `interrupt` may come from another thread.

    Args:
        address: "host:port" of a TensorFlow server.

    Example:
    >>> from monolith_tf.cluster.ports import pick_free_ports
    >>> (port,) = pick_free_ports(1)
    >>> probe = Probe(f"localhost:{port}")
    >>> probe.ask(timeout_seconds=5.0).kind
    'refuses'
    >>> probe.close()
    """

    def __init__(self, address: str):
        """Connects at the first question."""
        self.address = address
        self._channel = None
        self._lock = threading.Lock()
        self._is_over = False
        self._wake, self._waker = socket.socketpair()

    def ask(self, timeout_seconds: float) -> Answer:
        """Asks once.

        Args:
            timeout_seconds: Longest time of the question, at least 0.5; name
                resolution may add to it.

        Returns:
            The answer.
        """
        begin = time.monotonic()
        end = begin + max(timeout_seconds, _LEAST_SECONDS)
        done = threading.Event()
        call = self._call(end - begin)
        if call is None:
            return Answer(SILENT, 0.0, "the probe is closed")
        call.add_done_callback(lambda _: done.set())
        done.wait(min(_PROMPT_SECONDS, end - begin))

        def is_answered() -> bool:
            return done.is_set() and self._is_answer(call)

        if not is_answered():
            # A new connection also tells why.
            kind, detail = self._greet(end, is_answered)
            if not is_answered():
                call.cancel()
                self._disconnect()
                return Answer(kind, time.monotonic() - begin, detail)
        return Answer(ANSWERS, time.monotonic() - begin)

    def interrupt(self) -> None:
        """Ends the question that is under way, from any thread, for good."""
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
        # Makes the other end ready, which the question waits for too.
        self._waker.close()
        self._disconnect()

    def close(self) -> None:
        """Frees the connections, when no question is under way."""
        self.interrupt()
        self._wake.close()

    def _call(self, timeout_seconds: float):
        import grpc

        with self._lock:
            if self._is_over:
                return None
            if self._channel is None:
                self._channel = grpc.insecure_channel(self.address, _OPTIONS)
            return self._channel.unary_unary(_METHOD).future(
                b"", timeout=timeout_seconds
            )

    def _is_answer(self, call) -> bool:
        """Returns True if the code of an ended call is from the server."""
        import grpc

        return call.code() not in (
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.DEADLINE_EXCEEDED,
            grpc.StatusCode.CANCELLED,
        )

    def _disconnect(self) -> None:
        with self._lock:
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _greet(self, end: float, is_answered) -> tuple[str, str]:
        """Opens a connection and waits for the first byte of the server.

        A server of gRPC sends its settings at once. Only its network threads
        take part, so one whose other threads are all busy greets too.

        Args:
            end: Time of the clock when it gives up; it always has 0.1 s.
            is_answered: Returns True if there is nothing left to find out.

        Returns:
            Kind and detail of an `Answer`.
        """
        end = max(end, time.monotonic() + 0.1)
        host, _, port = self.address.rpartition(":")
        found = UNREACHABLE, f"{host} has no address"
        try:
            addresses = socket.getaddrinfo(
                host.strip("[]"), int(port), type=socket.SOCK_STREAM
            )
        except OSError as error:
            return UNREACHABLE, str(error)
        for family, kind, protocol, _, address in addresses:
            with socket.socket(family, kind, protocol) as connection:
                connection.setblocking(False)
                try:
                    found = self._greet_one(
                        connection, address, end, is_answered
                    )
                except ConnectionError as error:
                    found = REFUSES, str(error)
                except OSError as error:
                    found = UNREACHABLE, str(error)
            if found[0] != REFUSES:
                break
        return found

    def _greet_one(
        self, connection, address, end, is_answered
    ) -> tuple[str, str]:
        with contextlib.suppress(BlockingIOError):
            connection.connect(address)
        if not self._wait(connection, selectors.EVENT_WRITE, end, is_answered):
            return UNREACHABLE, "the connection does not open"
        error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        connection.send(_PREFACE)
        if not self._wait(connection, selectors.EVENT_READ, end, is_answered):
            return SILENT, "the connection opens, and nothing answers"
        if not connection.recv(1):
            return REFUSES, "the connection is closed"
        return GREETS, ""

    def _wait(self, connection, event: int, end: float, is_answered) -> bool:
        """Returns True if a connection is ready before the end."""
        with selectors.DefaultSelector() as selector:
            selector.register(connection, event)
            selector.register(self._wake, selectors.EVENT_READ)
            while not is_answered():
                left = end - time.monotonic()
                ready = selector.select(max(0.0, min(left, _SLICE_SECONDS)))
                for key, _ in ready:
                    return key.fileobj is connection
                if left <= 0:
                    break
        return False
