"""The bytes of a delta file: golden, round trip, every damage refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from monolith_tf.serving import delta as delta_lib

INT64 = np.iinfo(np.int64)

# docs/formats.md explains these bytes line by line.
GOLDEN = bytes.fromhex(
    # prologue: magic, version 1, 3 blocks, 219 bytes, 0, CRC32C
    "4d544644454c5441 01000000 03000000 db00000000000000 00000000 b7ecb5fc"
    # block: kind 1, CRC32C, 80 bytes: header of 8, 1 table, 4 dense bytes
    "01000000 566eb86b 5000000000000000"
    "0100000000000000 0500000000000000 0700000000000000 0100000000000000"
    "0200000000000000 0300000000000000 0400000000000000 0900000000000000"
    "0100000000000000 0400000000000000"
    # block: kind 2, CRC32C, 55 bytes: 5 of name, dim 2, 2 ids, 1 live
    "02000000 a4d5f64e 3700000000000000"
    "05000000 02000000 0200000000000000 0100000000000000"
    # "movie", ids -1 and 2, live flags, the one row
    "6d6f766965 ffffffffffffffff 0200000000000000 01 00 0000803f 000000c0"
    # block: kind 3, CRC32C, 4 bytes
    "03000000 b5257c01 0400000000000000 0000803f"
)


def small_chunk():
    return delta_lib.DeltaChunk(
        export_id=5,
        generation=7,
        shard=1,
        num_shards=2,
        from_cut=3,
        to_cut=4,
        sequence=9,
        tables=(
            delta_lib.TableChunk(
                name="movie",
                ids=np.array([-1, 2], np.int64),
                exists=np.array([True, False]),
                rows=np.array([[1.0, -2.0]], np.float32),
            ),
        ),
        dense=b"\x00\x00\x80\x3f",
    )


@st.composite
def table_chunks(draw):
    ids = draw(
        st.lists(st.integers(INT64.min, INT64.max), unique=True, max_size=6)
    )
    live = draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
    dim = draw(st.integers(1, 4))
    bits = draw(
        st.lists(
            st.integers(0, 2**32 - 1),
            min_size=sum(live) * dim,
            max_size=sum(live) * dim,
        )
    )
    return delta_lib.TableChunk(
        name=draw(st.text(max_size=8)),
        ids=np.array(ids, np.int64),
        exists=np.array(live, np.bool_),
        # Any bits: NaN payloads and -0.0 must survive too.
        rows=np.array(bits, np.uint32).view(np.float32).reshape(-1, dim),
    )


int63 = st.integers(0, INT64.max)
chunks = st.builds(
    delta_lib.DeltaChunk,
    export_id=int63,
    generation=int63,
    shard=st.integers(0, 4096),
    num_shards=st.integers(0, 4096),
    from_cut=int63,
    to_cut=int63,
    sequence=int63,
    tables=st.lists(table_chunks(), max_size=3).map(tuple),
    dense=st.binary(max_size=32),
    more=st.booleans(),
)


@settings(max_examples=50)
@given(chunks)
def test_a_chunk_comes_back_bit_for_bit(chunk):
    back = delta_lib.decode(delta_lib.encode(chunk))
    assert len(delta_lib.encode(chunk)) == chunk.num_bytes
    assert back.header == chunk.header
    assert back.dense == chunk.dense
    assert back.more == chunk.more
    assert [t.name for t in back.tables] == [t.name for t in chunk.tables]
    for got, want in zip(back.tables, chunk.tables, strict=True):
        np.testing.assert_array_equal(got.ids, want.ids)
        np.testing.assert_array_equal(got.exists, want.exists)
        assert got.rows.tobytes() == want.rows.tobytes()
        assert got.rows.shape == want.rows.shape


def test_the_bytes_are_the_specified_ones():
    assert delta_lib.encode(small_chunk()) == GOLDEN
    assert delta_lib.decode(GOLDEN) == small_chunk()


def test_every_change_of_one_byte_is_refused():
    for offset in range(len(GOLDEN)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(GOLDEN)
            damaged[offset] ^= flip
            with pytest.raises(delta_lib.CorruptDeltaError):
                delta_lib.decode(bytes(damaged))


def test_every_shorter_file_is_refused():
    for length in range(len(GOLDEN)):
        with pytest.raises(delta_lib.CorruptDeltaError):
            delta_lib.decode(GOLDEN[:length])


def test_a_longer_file_is_refused():
    with pytest.raises(delta_lib.CorruptDeltaError, match="were written"):
        delta_lib.decode(GOLDEN + b"\x00")


def test_an_unknown_version_is_refused_by_number():
    newer = GOLDEN[:8] + b"\x02" + GOLDEN[9:]
    with pytest.raises(
        delta_lib.CorruptDeltaError,
        match="format version 2; this reader knows version 1",
    ):
        delta_lib.decode(newer)


def test_another_kind_of_file_is_refused():
    with pytest.raises(delta_lib.CorruptDeltaError, match="starts with"):
        delta_lib.decode(b"\x7fELF" + GOLDEN[4:])


def test_the_error_names_file_and_offset(tmp_path):
    damaged = bytearray(GOLDEN)
    damaged[-1] ^= 1
    path = tmp_path / "00001-00000000000000000009.delta"
    path.write_bytes(damaged)
    with pytest.raises(delta_lib.CorruptDeltaError) as caught:
        delta_lib.read(path)
    assert caught.value.path == str(path)
    assert caught.value.offset == len(GOLDEN) - 20  # the dense block
    assert str(path) in str(caught.value)
    assert "byte 199" in str(caught.value)


def test_counts_that_disagree_with_valid_checksums_are_refused():
    chunk = small_chunk()
    blocks = delta_lib.encode(chunk)[32:]
    prologue = delta_lib._PROLOGUE.pack(
        delta_lib.MAGIC, 1, 2, 32 + len(blocks), 0
    )
    crc = delta_lib._CRC.pack(delta_lib.google_crc32c.value(prologue))
    with pytest.raises(delta_lib.CorruptDeltaError, match="2 blocks"):
        delta_lib.decode(prologue + crc + blocks)


@pytest.mark.parametrize(
    ("ids", "exists", "rows", "message"),
    [
        (np.zeros(1, np.int32), [True], np.zeros((1, 2)), "`ids`"),
        (np.zeros(1, np.int64), [1], np.zeros((1, 2)), "`exists`"),
        (np.zeros(1, np.int64), [True], np.zeros((2, 2)), "`rows`"),
    ],
)
def test_wrong_arrays_are_refused_when_built(ids, exists, rows, message):
    with pytest.raises(ValueError, match=message):
        delta_lib.TableChunk(
            "movie", ids, np.array(exists), rows.astype(np.float32)
        )
