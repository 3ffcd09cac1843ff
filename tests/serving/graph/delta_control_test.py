"""A delta is applied once and in order, or refused with the reason."""

from __future__ import annotations

import struct

import numpy as np
import pytest

APPLIED, DUPLICATE, GAP, GENERATION, EXPORT, MALFORMED = range(6)

DENSE = struct.pack("<ffq", -1.5, 4.0, 99)


def state(replica):
    """All that a delta can change."""
    return (
        replica.status(),
        [replica.rows([5, 6], table=index) for index in range(2)],
        [copy.numpy().tolist() for copy in replica.dense.copies],
    )


def test_a_delta_changes_both_tables(replica):
    outputs = replica.apply(rows=[{5: [1, 2]}, {5: [3, 4, 5], 6: [6, 7, 8]}])
    assert outputs == {
        "status": APPLIED,
        "expected_sequence": 2,
        "expected_generation": 11,
        "export_id": 4242,
        "message": b"",
        "applied_rows": 3,
    }
    assert replica.rows([5, 6]) == ([[1, 2], [0.5, 0.5]], [1, 0])
    assert replica.rows([5, 6], table=1) == ([[3, 4, 5], [6, 7, 8]], [1, 1])
    assert replica.status() == {
        "format": [1],
        "export_id": [4242],
        "generations": [11, 22, 4242],
        "last_sequences": [1, 0, 0],
        "live_rows": [1, 2],
        "dead_rows": [0, 0],
        "buckets": [8, 8],
    }


def test_rows_and_tombstones_travel_together(replica):
    replica.apply(1, rows=[{5: [1, 2], 6: [3, 4]}])
    outputs = replica.apply(2, rows=[{5: None, 7: [9, 9], 6: [5, 6]}])
    assert outputs["applied_rows"] == 3
    assert replica.rows([5, 6, 7]) == ([[0.5, 0.5], [5, 6], [9, 9]], [0, 1, 1])


def test_a_delta_sets_all_dense_variables(replica):
    outputs = replica.apply(shard=2, dense=DENSE)
    assert (outputs["status"], outputs["applied_rows"]) == (APPLIED, 0)
    kernel, step = replica.dense.copies
    assert kernel.numpy().tolist() == [[-1.5, 4.0]]
    assert step.numpy() == 99
    assert replica.status()["last_sequences"] == [0, 0, 1]


def test_a_delta_of_nothing_counts(replica):
    assert replica.apply(shard=1)["status"] == APPLIED
    assert replica.apply(shard=2)["status"] == APPLIED
    assert replica.status()["last_sequences"] == [0, 1, 1]


def test_each_stream_has_a_sequence_of_its_own(replica):
    for shard, last in [(0, 3), (1, 1), (2, 2)]:
        for sequence in range(1, last + 1):
            assert replica.apply(sequence, shard=shard)["status"] == APPLIED
    assert replica.status()["last_sequences"] == [3, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("last", [2**20, 2**24, 2**31, 2**63 - 3])
def test_sequences_count_to_the_end_of_int64(replica, last):
    replica.control._last_sequences.assign([last, 0, last])
    for shard in (0, 2):
        assert replica.apply(last + 2, shard=shard)["status"] == GAP
        assert replica.apply(last, shard=shard)["status"] == DUPLICATE
        outputs = replica.apply(last + 1, shard=shard)
        assert outputs["status"] == APPLIED
        assert outputs["expected_sequence"] == last + 2
    assert replica.status()["last_sequences"] == [last + 1, 0, last + 1]


@pytest.mark.slow
def test_a_delta_sent_twice_changes_nothing_the_second_time(replica):
    replica.apply(1, rows=[{5: [1, 2]}])
    replica.apply(2, rows=[{5: [3, 4]}])
    before = state(replica)
    outputs = replica.apply(1, rows=[{5: [1, 2]}])
    assert (outputs["status"], outputs["applied_rows"]) == (DUPLICATE, 0)
    assert outputs["expected_sequence"] == 3
    assert outputs["message"] == (
        b"sequence 1 was applied before, expected 3; nothing changed"
    )
    assert state(replica) == before


@pytest.mark.slow
def test_a_gap_is_refused_with_what_was_expected(replica):
    replica.apply(1, rows=[{5: [1, 2]}])
    before = state(replica)
    outputs = replica.apply(3, rows=[{5: [3, 4]}])
    assert (outputs["status"], outputs["expected_sequence"]) == (GAP, 2)
    assert outputs["message"] == (
        b"sequence is 3, expected 2; send the deltas from there on again, or "
        b"write a new export"
    )
    assert state(replica) == before
    assert replica.apply(2, rows=[{5: [3, 4]}])["status"] == APPLIED


@pytest.mark.slow
@pytest.mark.parametrize(
    ("header", "status", "message"),
    [
        (
            {"export_id": 7},
            EXPORT,
            b"delta is for export 7, this is export 4242; send the deltas of "
            b"this export, or write a new export",
        ),
        (
            {"generation": 7},
            GENERATION,
            b"generation of shard 0 is 7, expected 11; the shard was restored "
            b"or restarted after this export: write a new export",
        ),
        (
            {"shard": 1, "generation": 11},
            GENERATION,
            b"generation of shard 1 is 11, expected 22; the shard was restored "
            b"or restarted after this export: write a new export",
        ),
        (
            {"shard": 2, "generation": 11},
            GENERATION,
            b"generation of shard 2 is 11, expected 4242; the shard was "
            b"restored or restarted after this export: write a new export",
        ),
        ({"format": 2}, MALFORMED, b"format is 2, expected 1"),
        ({"num_shards": 3}, MALFORMED, b"num_shards is 3, expected 2"),
        (
            {"shard": 3},
            MALFORMED,
            b"shard is 3, expected 0 to 1 for rows or 2 for dense variables",
        ),
        (
            {"shard": -1},
            MALFORMED,
            b"shard is -1, expected 0 to 1 for rows or 2 for dense variables",
        ),
        (
            {"from_cut": 9, "to_cut": 8},
            MALFORMED,
            b"from_cut 9 is above to_cut 8",
        ),
        ({"sequence": 0}, MALFORMED, b"sequence is 0, expected 1 or more"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(
    unchanged_replica, header, status, message
):
    before = state(unchanged_replica)
    outputs = unchanged_replica.apply(**{"rows": [{5: [1, 2]}], **header})
    assert (outputs["status"], outputs["message"]) == (status, message)
    assert outputs["applied_rows"] == 0
    assert outputs["export_id"] == 4242
    assert state(unchanged_replica) == before


def replaced(name, value):
    return lambda inputs: inputs.update(
        {name: np.array(value, object if name == "dense" else None)}
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            replaced("header", [[1, 4242, 11, 0, 2, 0, 1]]),
            b"header has shape [1, 7], expected [1, 8]; a server that batches "
            b"must leave this model's control signatures alone",
        ),
        (
            replaced("header", [[1, 4242, 11, 0, 2, 0, 1, 1]] * 2),
            b"header has shape [2, 8], expected [1, 8]; a server that batches "
            b"must leave this model's control signatures alone",
        ),
        (
            replaced("header", np.zeros([0, 8])),
            b"header has shape [0, 8], expected [1, 8]; a server that batches "
            b"must leave this model's control signatures alone",
        ),
        (
            replaced("ids_0", [[5], [6]]),
            b"ids_0 has shape [2, 1], expected [1, n]; a server that batches "
            b"must leave this model's control signatures alone",
        ),
        (
            replaced("exists_0", [[1, 1, 1]]),
            b"exists_0 has 3 elements, expected one per id of ids_0: 2",
        ),
        (
            replaced("exists_0", [[1, 2]]),
            b"exists_0 has elements other than 0 (tombstone) and 1 (row)",
        ),
        (
            replaced("rows_0", [[1.0, 2.0, 3.0]]),
            b"rows_0 has 3 floats, expected 4: one row of 2 per 1 in exists_0",
        ),
        (
            replaced("exists_0", [[1, 0]]),
            b"rows_0 has 4 floats, expected 2: one row of 2 per 1 in exists_0",
        ),
        (
            replaced("ids_0", [[5, 5]]),
            b"ids_0 has 1 duplicates, expected each id once in a delta",
        ),
        (
            replaced("rows_1", [[1.0, 2.0, 3.0, 4.0]]),
            b"rows_1 has 4 floats, expected 3: one row of 3 per 1 in exists_1",
        ),
        (
            replaced("dense", [DENSE]),
            b"dense has 16 bytes in the stream of a shard, expected none",
        ),
        (
            replaced("dense", [b"", b""]),
            b"dense has 2 strings, expected 1",
        ),
    ],
)
def test_malformed_contents_are_refused_and_nothing_changed(
    unchanged_replica, damage, message
):
    before = state(unchanged_replica)
    inputs = unchanged_replica.request(
        rows=[{5: [1, 2], 6: [3, 4]}, {5: [5, 6, 7]}]
    )
    damage(inputs)
    outputs = unchanged_replica.send(inputs)
    assert (outputs["status"], outputs["message"]) == (MALFORMED, message)
    assert outputs["applied_rows"] == 0
    assert state(unchanged_replica) == before


@pytest.mark.parametrize(
    ("request_of", "message"),
    [
        (
            {"dense": DENSE[:-1]},
            b"dense has 15 bytes, expected 0 or the 16 of all dense variables",
        ),
        (
            {"dense": DENSE, "rows": [{5: [1, 2]}]},
            b"ids_0 has 1 elements in the stream of dense variables, "
            b"expected 0",
        ),
    ],
)
def test_the_dense_stream_carries_all_dense_variables_and_no_rows(
    unchanged_replica, request_of, message
):
    before = state(unchanged_replica)
    outputs = unchanged_replica.apply(shard=2, **request_of)
    assert (outputs["status"], outputs["message"]) == (MALFORMED, message)
    assert state(unchanged_replica) == before


@pytest.mark.slow
def test_every_output_has_first_dimension_one(replica):
    outputs = {
        **replica.control.apply_delta_function().structured_outputs,
        **replica.control.status_function().structured_outputs,
    }
    assert {output.shape[0] for output in outputs.values()} == {1}
