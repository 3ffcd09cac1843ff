"""Who writes to a server: fencing, and table sets that change hands."""

import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import ops
from monolith_tf.placement import writers
from monolith_tf.placement.table_set import live_sets
from monolith_tf.placement.table_set import servers_of

# Above the epochs of other tests in this process.
EPOCH = 1 << 40
OTHER = 1 << 50


def make_table(dim=2, num_shards=2):
    """A table in a table set of its own, with eight rows."""
    with mt.TableSet(num_shards=num_shards):
        table = mt.Table(mt.TableConfig("movie", dim=dim))
    table.assign(tf.range(8, dtype=tf.int64), tf.ones([8, dim]))
    return table


def names(table_sets):
    return [
        f"{table_set.name}/{shard}"
        for table_set in table_sets
        for shard in range(table_set.num_shards)
    ]


def fence(epoch, writer, kept):
    freed = ops.fence_writers(
        tf.constant(epoch, tf.int64),
        tf.constant(writer, tf.int64),
        tf.constant(kept, tf.string),
    )
    return [int(x) for x in freed]


@pytest.fixture(autouse=True)
def take_over():
    """Makes this process the writer again, whatever a test did."""
    yield
    fence(EPOCH + 100, writers.WRITER, names(live_sets()))


def test_fencing_frees_what_is_not_kept():
    mine, old = make_table(), make_table()
    others = [x for x in live_sets() if x is not old.table_set]
    fence(EPOCH, writers.WRITER, names(live_sets()))
    assert fence(EPOCH, writers.WRITER, names(live_sets())) == [0, 0]
    num_freed, num_bytes = fence(EPOCH, writers.WRITER, names(others))
    assert num_freed == 2
    assert num_bytes > 0
    assert mine.size() == 8
    with pytest.raises(tf.errors.FailedPreconditionError):
        old.size()


def test_an_older_chief_is_refused_and_frees_nothing():
    table = make_table()
    fence(EPOCH + 200, OTHER, names(live_sets()))
    with pytest.raises(
        tf.errors.AbortedError, match="This chief is fenced.*Received"
    ):
        fence(EPOCH + 200, writers.WRITER, [])
    assert table.size() == 8
    # A newer epoch of the same process goes on.
    fence(EPOCH + 201, writers.WRITER, names(live_sets()))
    with pytest.raises(tf.errors.AbortedError):
        fence(EPOCH + 200, OTHER, [])


def test_table_sets_without_servers_fence_nobody():
    table = make_table()
    assert writers.fence_older([table.table_set], EPOCH) == 0
    assert table.size() == 8


def test_rows_change_hands_with_their_generation():
    old, new = make_table(), make_table()
    new.clear()
    generations = old.table_set.generations()
    for shard, generation in enumerate(generations):
        assert writers.adopt(new.table_set, shard, generation, EPOCH + 300)
        # Again, as after an answer that was lost.
        assert writers.adopt(new.table_set, shard, generation, EPOCH + 300)
    assert new.table_set.generations() == generations
    assert new.size() == 8
    new.assign([100], [[3.0, 3.0]])
    assert new.size() == 9
    with pytest.raises(tf.errors.FailedPreconditionError):
        old.lookup([1])


@pytest.mark.parametrize("case", ["generation", "tables", "shard"])
def test_rows_that_do_not_fit_stay_where_they_are(case):
    old = make_table()
    new = make_table(
        dim=3 if case == "tables" else 2,
        num_shards=3 if case == "shard" else 2,
    )
    generation = old.table_set.generations()[0]
    if case == "generation":
        generation += 1
    assert not writers.adopt(new.table_set, 0, generation, EPOCH + 300)
    assert (old.size(), new.size()) == (8, 8)


def test_a_fenced_chief_adopts_nothing():
    old, new = make_table(), make_table()
    generation = old.table_set.generations()[0]
    fence(EPOCH + 400, OTHER, names(live_sets()))
    with pytest.raises(tf.errors.AbortedError, match="fenced"):
        writers.adopt(new.table_set, 0, generation, EPOCH)
    assert (old.size(), new.size()) == (8, 8)
    fence(EPOCH + 401, writers.WRITER, names(live_sets()))


def test_a_generation_is_positive():
    table = make_table()
    device, handle = servers_of(table.table_set)[0]
    with (
        tf.device(device),
        pytest.raises(tf.errors.InvalidArgumentError, match="Received: 0"),
    ):
        ops.adopt_table_set(
            handle,
            *(tf.constant(x, tf.int64) for x in (0, EPOCH, writers.WRITER)),
        )


def test_a_destroyed_table_set_leaves_the_registry():
    table = make_table()
    for device, handle in servers_of(table.table_set):
        with tf.device(device):
            tf.raw_ops.DestroyResourceOp(resource=handle)
    kept = [x for x in live_sets() if x is not table.table_set]
    fence(EPOCH, writers.WRITER, names(live_sets()))
    assert fence(EPOCH, writers.WRITER, names(kept)) == [0, 0]
