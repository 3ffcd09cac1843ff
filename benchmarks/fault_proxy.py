"""A bad network: forwards TCP, late, in part, or not at all.

    python benchmarks/fault_proxy.py MILLISECONDS HOST:PORT ...

Prints one line, the JSON list of its own addresses in the order of the given
ones, and serves until its standard input ends. Bytes are late and none are
held back for others: a delay, not a limit of bandwidth.

`FaultProxy` is the same within a process, with more faults. Tests change them
while connections are open.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from collections.abc import Sequence

_CHUNK_BYTES = 1 << 18

# Directions: from the client to the server, and back.
REQUEST = "request"
REPLY = "reply"
BOTH = (REQUEST, REPLY)


@contextlib.contextmanager
def delayed(addresses: Sequence[str], milliseconds: float) -> Iterator[list]:
    """Delays connections to addresses, in its own process.

    Args:
        addresses: "host:port" each.
        milliseconds: How late bytes arrive, each way.

    Yields:
        The addresses to connect to instead.
    """
    process = subprocess.Popen(
        [sys.executable, __file__, str(milliseconds), *addresses],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


class _Connection:
    """A client, the server, and the bytes between them."""

    def __init__(self, rules: _Rules, client_writer, server_writer):
        self._rules = rules
        self._writers = {REQUEST: server_writer, REPLY: client_writer}
        self._held = {REQUEST: [], REPLY: []}
        self.has_lost_bytes = False

    async def run(self, client_reader, server_reader) -> None:
        await asyncio.gather(
            self._pass_on(REQUEST, client_reader),
            self._pass_on(REPLY, server_reader),
        )

    async def _pass_on(self, direction: str, reader) -> None:
        """Forwards data after the delay, then the end of the stream."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                chunk = await reader.read(_CHUNK_BYTES)
            except ConnectionError:
                chunk = b""
            chunk, is_cut = self._rules.cut_short(direction, chunk)
            if chunk or not is_cut:
                loop.call_later(
                    self._rules.delay_seconds, self._write, direction, chunk
                )
            if is_cut:
                loop.call_later(self._rules.delay_seconds, self.abort)
            if is_cut or not chunk:
                return

    def _write(self, direction: str, chunk: bytes) -> None:
        if direction in self._rules.held:
            self._held[direction].append(chunk)
        elif direction in self._rules.dropped:
            self.has_lost_bytes = True
        elif chunk:
            self._writers[direction].write(chunk)
        else:
            self._writers[direction].close()

    def release(self) -> None:
        """Writes the bytes that a partition held back."""
        for direction, chunks in self._held.items():
            if direction in self._rules.held:
                continue
            self._held[direction] = []
            for chunk in chunks:
                self._write(direction, chunk)

    def abort(self) -> None:
        """Resets both sides."""
        for writer in self._writers.values():
            writer.transport.abort()


class _Rules:
    """The fate of bytes; read and written on the loop's thread."""

    def __init__(self, delay_seconds: float):
        self.delay_seconds = delay_seconds
        self.dropped = set()
        self.held = set()
        self.accepts = "connects"
        # Direction -> bytes that pass before the next cut.
        self._cuts = {}

    def cut_next(self, direction: str, after_bytes: int) -> None:
        self._cuts[direction] = after_bytes

    def cut_short(self, direction: str, chunk: bytes) -> tuple[bytes, bool]:
        """Returns the part that passes, and True if the rest is cut off."""
        left = self._cuts.get(direction)
        if left is None or not chunk:
            return chunk, False
        if len(chunk) <= left:
            self._cuts[direction] = left - len(chunk)
            return chunk, False
        del self._cuts[direction]
        return chunk[:left], True

    def heal(self) -> None:
        self.__init__(0.0)


class FaultProxy:
    """Forwards connections to one address, and spoils them on request.

    Every method may be called from any thread; its effect is there when it
    returns.

    Args:
        target: "host:port" of the server, which need not listen yet.
        delay_seconds: How late bytes arrive, each way.

    Attributes:
        address: "host:port" to connect to instead.
        injected: Number of faults by kind.
        num_connections: Connections that clients have made so far.
    """

    def __init__(self, target: str, delay_seconds: float = 0.0):
        """Listens on a free port of this machine."""
        self.injected = collections.Counter()
        self.num_connections = 0
        self._target = target
        self._rules = _Rules(delay_seconds)
        self._connections: set[_Connection] = set()
        # Clients of a half-open proxy.
        self._silent = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="fault proxy", daemon=True
        )
        self._thread.start()
        self.address = self._on_loop(self._listen())

    def delay(self, seconds: float) -> None:
        """Makes bytes later, each way."""
        self._change("delay", setattr, self._rules, "delay_seconds", seconds)

    def drop(self, *directions: str) -> None:
        """Loses all bytes, of both directions by default: a black hole.

        Connections that have lost bytes are reset by `heal`.
        """
        self._change("drop", self._rules.dropped.update, directions or BOTH)

    def partition(self, *directions: str) -> None:
        """Holds bytes back, of both directions by default.

        `heal` delivers them, as TCP does when packets pass again.
        """
        self._change("partition", self._rules.held.update, directions or BOTH)

    def cut(self, direction: str, after_bytes: int = 0) -> None:
        """Resets the connection that next exceeds `after_bytes`.

        The first `after_bytes` of all connections pass. With 0 the next request
        is lost, or the reply to a request that has arrived.
        """
        self._change("cut", self._rules.cut_next, direction, after_bytes)

    def half_open(self) -> None:
        """Accepts connections from now on and never answers."""
        self._change("half-open", setattr, self._rules, "accepts", "nothing")

    def refuse(self) -> None:
        """Closes new connections from now on, and resets the open ones."""
        self._change("refuse", setattr, self._rules, "accepts", "refuses")
        self.reset()

    def reset(self) -> None:
        """Resets all open connections."""
        self._change("reset", self._abort, lambda connection: True)

    def heal(self) -> None:
        """Ends all faults; delivers bytes that were held back."""
        self._on_loop(self._heal())

    def close(self) -> None:
        """Resets all connections and stops to listen."""
        self._on_loop(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> FaultProxy:
        """Returns the proxy itself."""
        return self

    def __exit__(self, *_) -> None:
        """Closes the proxy."""
        self.close()

    def _on_loop(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _change(self, kind: str, function, *arguments) -> None:
        self.injected[kind] += 1

        async def change():
            function(*arguments)

        self._on_loop(change())

    def _abort(self, is_meant) -> None:
        for connection in list(self._connections):
            if is_meant(connection):
                connection.abort()

    async def _heal(self) -> None:
        self._rules.heal()
        for connection in list(self._connections):
            connection.release()
        self._abort(lambda connection: connection.has_lost_bytes)
        self._close_silent()

    def _close_silent(self) -> None:
        for writer in self._silent:
            writer.transport.abort()
        self._silent.clear()

    async def _listen(self) -> str:
        self._server = await asyncio.start_server(
            self._connected, "localhost", 0
        )
        port = self._server.sockets[0].getsockname()[1]
        return f"localhost:{port}"

    async def _connected(self, reader, writer) -> None:
        self.num_connections += 1
        if self._rules.accepts == "refuses":
            writer.transport.abort()
            return
        if self._rules.accepts == "nothing":
            self._silent.add(writer)
            return
        host, _, port = self._target.rpartition(":")
        try:
            theirs = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(self._rules, writer, theirs[1])
        self._connections.add(connection)
        try:
            await connection.run(reader, theirs[0])
        except asyncio.CancelledError:
            connection.abort()
        finally:
            self._connections.discard(connection)

    async def _stop(self) -> None:
        self._server.close()
        self._close_silent()
        self._abort(lambda connection: True)
        own = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not own]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def _main(milliseconds: str, *addresses: str) -> None:
    with contextlib.ExitStack() as stack:
        proxies = [
            stack.enter_context(FaultProxy(address, float(milliseconds) / 1e3))
            for address in addresses
        ]
        print(json.dumps([proxy.address for proxy in proxies]), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    _main(*sys.argv[1:])
