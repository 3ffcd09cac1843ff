"""Bytes that go through the benchmark's delay arrive late, and all of them."""

import importlib.util
import socket
import threading
import time

import pytest

pytestmark = pytest.mark.e2e

DELAY_SECONDS = 0.05


@pytest.fixture
def delay_proxy(repository_root):
    spec = importlib.util.spec_from_file_location(
        "delay_proxy", repository_root / "benchmarks" / "delay_proxy.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def echo():
    """The address of a server that sends back what it gets, until the end."""
    with socket.create_server(("localhost", 0)) as listening:

        def serve():
            connection, _ = listening.accept()
            with connection:
                while data := connection.recv(1 << 16):
                    connection.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"localhost:{listening.getsockname()[1]}"
        thread.join()


def test_what_goes_through_comes_back_whole_and_late(delay_proxy, echo):
    sent = bytes(range(256)) * 4096
    with delay_proxy.delayed([echo], 1e3 * DELAY_SECONDS) as (address,):
        assert address != echo
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port))) as connection:
            begin = time.monotonic()
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
            # There and back; clocks are read in coarse steps.
            assert time.monotonic() - begin > 1.9 * DELAY_SECONDS
            writer = threading.Thread(target=connection.sendall, args=(sent,))
            writer.start()
            got = bytearray()
            while len(got) < len(sent):
                got += connection.recv(1 << 16)
            writer.join()
            assert got == sent
