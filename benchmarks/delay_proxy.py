"""A slow network: forwards TCP after a delay each way.

    python benchmarks/delay_proxy.py MILLISECONDS HOST:PORT ...

Prints one line, the JSON list of its own addresses in the order of the given
ones, and serves until its standard input ends. Bytes are late and none are
held back for others: a delay, not a limit of bandwidth.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from collections.abc import Sequence

_CHUNK_BYTES = 1 << 18


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


async def _pass_on(reader, writer, seconds: float) -> None:
    """Forwards data after the delay, then the end of the stream."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            chunk = await reader.read(_CHUNK_BYTES)
        except ConnectionError:
            chunk = b""
        loop.call_later(
            seconds, *((writer.write, chunk) if chunk else (writer.close,))
        )
        if not chunk:
            return


async def _serve(address: str, seconds: float) -> str:
    """Listens for one address; returns the local address."""
    host, _, port = address.rpartition(":")

    async def connected(reader, writer):
        try:
            theirs = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        # Connections that are still open at the end are closed.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(
                _pass_on(reader, theirs[1], seconds),
                _pass_on(theirs[0], writer, seconds),
            )

    server = await asyncio.start_server(connected, "localhost", 0)
    return f"localhost:{server.sockets[0].getsockname()[1]}"


async def _main(milliseconds: str, *addresses: str) -> None:
    seconds = float(milliseconds) / 1e3
    listening = [await _serve(address, seconds) for address in addresses]
    print(json.dumps(listening), flush=True)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    asyncio.run(_main(*sys.argv[1:]))
