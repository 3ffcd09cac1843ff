"""Many clients at once: each delta counts once and in order."""

from __future__ import annotations

import itertools
import random
import threading

import numpy as np
import pytest

NUM_DELTAS = 60
NUM_SENDERS = 8


def run_all(functions):
    """Runs functions on a thread each; raises what any of them raised."""
    errors = []

    def guarded(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=[f]) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.slow
def test_eight_senders_of_the_same_deltas_apply_each_once(served_replica):
    replica = served_replica
    # Id 1 is set by every delta, id 100 + n by delta n alone and removed by
    # the next, in both tables.
    deltas = [
        replica.request(
            n,
            rows=[
                {1: [n, n], 100 + n: [n, -n], 99 + n: None},
                {1: [n] * 3, 100 + n: [n] * 3, 99 + n: None},
            ],
        )
        for n in range(1, NUM_DELTAS + 1)
    ]
    applied = [[] for _ in range(NUM_SENDERS)]
    senders_left = [NUM_SENDERS]
    lock = threading.Lock()

    def send(sender):
        shuffled = random.Random(sender)
        position = 0
        while position < NUM_DELTAS:
            # The next ones out of order, and an old one again.
            window = list(range(position, min(position + 3, NUM_DELTAS)))
            window.append(shuffled.randrange(position + 1))
            shuffled.shuffle(window)
            for index in window:
                outputs = replica.send(deltas[index])
                if outputs["status"] == 0:
                    assert outputs["expected_sequence"] == index + 2
                    assert outputs["applied_rows"] == 6
                    applied[sender].append(index + 1)
                else:
                    assert outputs["status"] in (1, 2)
                    assert outputs["applied_rows"] == 0
                position = int(outputs["expected_sequence"]) - 1
        with lock:
            senders_left[0] -= 1

    def predict():
        ids = [1, *range(100, 101 + NUM_DELTAS)]
        newest = 0.0
        while senders_left[0]:
            rows, live = map(np.array, replica.rows(ids))
            # A row is whole, and never goes back.
            if live[0]:
                assert rows[0, 0] == rows[0, 1] >= newest
                newest = rows[0, 0]
            for n in np.flatnonzero(live[1:]):
                assert rows[n + 1].tolist() == [n, -n]

    def watch():
        last = 0
        while senders_left[0]:
            status = replica.status()
            assert status["last_sequences"][0] >= last
            last = status["last_sequences"][0]
            # Seen between two deltas, never within one.
            assert status["live_rows"] == [2 if last else 0] * 2
            assert status["dead_rows"] == [max(last - 1, 0)] * 2

    run_all(
        [*(lambda s=s: send(s) for s in range(NUM_SENDERS)), predict, watch]
    )
    everything = sorted(itertools.chain(*applied))
    assert everything == list(range(1, NUM_DELTAS + 1))
    assert replica.rows([1, 100 + NUM_DELTAS, 100]) == (
        [[NUM_DELTAS] * 2, [NUM_DELTAS, -NUM_DELTAS], [0.5, 0.5]],
        [1, 1, 0],
    )


@pytest.mark.slow
def test_streams_are_applied_side_by_side(replica):
    def send(shard):
        for n in range(1, 31):
            rows = [{10 * n + shard: [n, shard]}] if shard < 2 else []
            dense = np.array([n, n], "<f4").tobytes() + n.to_bytes(8, "little")
            outputs = replica.apply(
                n, shard=shard, rows=rows, dense=dense if shard == 2 else b""
            )
            assert outputs["status"] == 0

    run_all([lambda s=s: send(s) for s in range(3)])
    assert replica.status()["last_sequences"] == [30, 30, 30]
    assert replica.status()["live_rows"] == [60, 0]
    assert replica.dense.copies[1].numpy() == 30
