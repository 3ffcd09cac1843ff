"""The fault proxy passes all bytes on, unless it is told to spoil them."""

import socket
import socketserver
import threading
import time

import network
import pytest
from network import REPLY
from network import REQUEST

import processes

DELAY_SECONDS = 0.05


class Echo(socketserver.ThreadingTCPServer):
    """Sends back what it receives, and keeps it."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self):
        self.received = bytearray()
        super().__init__(("localhost", 0), None)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self):
        return f"localhost:{self.server_address[1]}"

    def finish_request(self, request, client_address):
        try:
            while data := request.recv(1 << 16):
                self.received += data
                request.sendall(data)
        except ConnectionError:
            pass


@pytest.fixture
def echo():
    server = Echo()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def proxy(echo):
    with network.FaultProxy(echo.address) as proxy:
        yield proxy


@pytest.fixture
def connect():
    """Connects to an address; a read ends after the deadline of tests."""
    sockets = []

    def make(address):
        host, _, port = address.rpartition(":")
        sockets.append(
            socket.create_connection(
                (host, int(port)), timeout=processes.DEADLINE_SECONDS
            )
        )
        return sockets[-1]

    yield make
    for one in sockets:
        one.close()


def read(connection, length):
    """Returns `length` bytes, or those before the end of the stream."""
    got = bytearray()
    try:
        while len(got) < length and (data := connection.recv(1 << 16)):
            got += data
    except ConnectionError:
        pass
    return bytes(got)


def exchange(connection, sent=b"x"):
    connection.sendall(sent)
    return read(connection, len(sent))


@pytest.mark.e2e
def test_what_goes_through_comes_back_whole_and_late(echo, connect):
    sent = bytes(range(256)) * 4096
    with network.delayed([echo.address], 1e3 * DELAY_SECONDS) as (address,):
        assert address != echo.address
        connection = connect(address)
        begin = time.monotonic()
        assert exchange(connection) == b"x"
        # There and back; clocks are read in coarse steps.
        assert time.monotonic() - begin > 1.9 * DELAY_SECONDS
        writer = threading.Thread(target=connection.sendall, args=(sent,))
        writer.start()
        assert read(connection, len(sent)) == sent
        writer.join()


def test_without_a_fault_all_bytes_pass(proxy, connect):
    assert exchange(connect(proxy.address), b"abc") == b"abc"
    assert proxy.num_connections == 1
    assert not proxy.injected


def test_a_delay_may_change_while_a_connection_is_open(proxy, connect):
    connection = connect(proxy.address)
    assert exchange(connection) == b"x"
    proxy.delay(DELAY_SECONDS)
    begin = time.monotonic()
    assert exchange(connection) == b"x"
    assert time.monotonic() - begin > 1.9 * DELAY_SECONDS


def test_a_lost_request_never_reaches_the_server(proxy, echo, connect):
    connection = connect(proxy.address)
    proxy.cut(REQUEST)
    assert exchange(connection) == b""
    assert echo.received == b""
    assert exchange(connect(proxy.address)) == b"x"


def test_a_lost_reply_leaves_the_request_with_the_server(proxy, echo, connect):
    connection = connect(proxy.address)
    proxy.cut(REPLY)
    assert exchange(connection) == b""
    assert echo.received == b"x"


def test_a_connection_may_be_cut_within_a_message(proxy, echo, connect):
    connection = connect(proxy.address)
    proxy.cut(REQUEST, after_bytes=3)
    connection.sendall(b"abcdef")
    assert read(connection, 6) in (b"", b"abc")
    processes.wait_until(lambda: len(echo.received) == 3)
    assert echo.received == b"abc"


def test_a_black_hole_loses_bytes_and_heals_by_a_reset(proxy, echo, connect):
    connection = connect(proxy.address)
    assert exchange(connection, b"1") == b"1"
    proxy.drop()
    connection.sendall(b"2")
    connection.settimeout(0.05)
    with pytest.raises(TimeoutError):
        connection.recv(1)
    connection.settimeout(processes.DEADLINE_SECONDS)
    proxy.heal()
    assert read(connection, 1) == b""
    assert echo.received == b"1"


def test_a_partition_delivers_late_what_it_held_back(proxy, echo, connect):
    connection = connect(proxy.address)
    proxy.partition()
    connection.sendall(b"abc")
    connection.settimeout(0.05)
    with pytest.raises(TimeoutError):
        connection.recv(1)
    assert echo.received == b""
    connection.settimeout(processes.DEADLINE_SECONDS)
    proxy.heal()
    assert read(connection, 3) == b"abc"


def test_a_partition_may_be_of_one_way(proxy, echo, connect):
    connection = connect(proxy.address)
    proxy.partition(REPLY)
    connection.sendall(b"abc")
    processes.wait_until(lambda: echo.received == b"abc")
    connection.settimeout(0.05)
    with pytest.raises(TimeoutError):
        connection.recv(1)
    connection.settimeout(processes.DEADLINE_SECONDS)
    proxy.heal()
    assert read(connection, 3) == b"abc"


def test_a_half_open_server_accepts_and_never_answers(proxy, echo, connect):
    proxy.half_open()
    connection = connect(proxy.address)
    connection.sendall(b"x")
    connection.settimeout(0.05)
    with pytest.raises(TimeoutError):
        connection.recv(1)
    proxy.heal()
    connection.settimeout(processes.DEADLINE_SECONDS)
    assert read(connection, 1) == b""
    assert echo.received == b""
    assert exchange(connect(proxy.address)) == b"x"


def test_a_refusal_ends_open_connections_and_new_ones(proxy, connect):
    connection = connect(proxy.address)
    assert exchange(connection) == b"x"
    proxy.refuse()
    assert read(connection, 1) == b""
    assert exchange(connect(proxy.address)) == b""
    proxy.heal()
    assert exchange(connect(proxy.address)) == b"x"


def test_a_server_that_is_away_ends_the_connection(connect):
    with socket.create_server(("localhost", 0)) as listener:
        address = f"localhost:{listener.getsockname()[1]}"
    with network.FaultProxy(address) as proxy:
        assert read(connect(proxy.address), 1) == b""


def test_faults_are_counted_by_kind(proxy):
    proxy.delay(0.1)
    proxy.drop(REQUEST)
    proxy.drop(REPLY)
    assert proxy.injected == {"delay": 1, "drop": 2}
