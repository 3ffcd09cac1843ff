"""Whole calls are repeated, delayed or lost, and otherwise pass."""

from __future__ import annotations

from concurrent import futures

import grpc
import pytest
from request_proxy import RequestProxy

METHOD = "/test.Echo/Say"


class Echo(grpc.GenericRpcHandler):
    def __init__(self):
        self.received = []

    def service(self, handler_call_details):
        def say(request, context):
            self.received.append(request)
            if request == b"bad":
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "it is bad")
            return b"%s %d" % (request, len(self.received))

        return grpc.unary_unary_rpc_method_handler(say)


@pytest.fixture
def echo():
    handler = Echo()
    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=(handler,))
    handler.address = f"localhost:{server.add_insecure_port('localhost:0')}"
    server.start()
    yield handler
    server.stop(None).wait()


@pytest.fixture
def proxy(echo):
    with RequestProxy(echo.address) as proxy:
        yield proxy


@pytest.fixture
def say(proxy):
    with grpc.insecure_channel(proxy.address) as channel:
        call = channel.unary_unary(METHOD)
        yield lambda text: call(text, wait_for_ready=True)


def test_calls_and_their_errors_pass(echo, say):
    assert say(b"a") == b"a 1"
    with pytest.raises(grpc.RpcError) as raised:
        say(b"bad")
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.details() == "it is bad"


def test_a_repeated_call_arrives_twice_and_answers_once(echo, proxy, say):
    proxy.repeat_next()
    assert say(b"a") == b"a 2"
    assert say(b"b") == b"b 3"
    assert echo.received == [b"a", b"a", b"b"]
    assert proxy.injected == {"repeat": 1}


def test_a_late_copy_arrives_after_later_calls(echo, proxy, say):
    proxy.repeat_next_late()
    say(b"a")
    say(b"b")
    assert proxy.send_late() == 1
    assert proxy.send_late() == 0
    assert echo.received == [b"a", b"b", b"a"]


def test_a_lost_request_does_not_arrive_and_a_lost_reply_does(echo, proxy, say):
    proxy.lose_next_request()
    proxy.lose_next_reply()
    for text in (b"a", b"b"):
        with pytest.raises(grpc.RpcError) as raised:
            say(text)
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
    assert say(b"c") == b"c 2"
    assert echo.received == [b"b", b"c"]
