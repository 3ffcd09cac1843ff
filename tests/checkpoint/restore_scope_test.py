"""While tables are restored nobody uses them; then all are usable at once."""

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import ops
from monolith_tf.checkpoint import table_state
from monolith_tf.errors import CheckpointError
from monolith_tf.placement.table_set import servers_of

IDS = np.arange(1000)
REFUSED = "is being restored"


def make_tables(*names, num_shards=2):
    with mt.TableSet(num_shards=num_shards):
        return [
            mt.Table(
                mt.TableConfig(
                    name,
                    dim=2,
                    optimizer=mt.optimizers.SGD(1.0),
                    initializer=mt.initializers.Zeros(),
                )
            )
            for name in names
        ]


def fill(table, value=1.0):
    table.assign(IDS, np.full([len(IDS), 2], value, np.float32))


def all_equal(table, value):
    return bool((table.lookup(IDS).numpy() == value).all())


def refuses(table):
    """True if a lookup of the table is refused."""
    try:
        table.lookup([1])
    except tf.errors.AbortedError as error:
        assert REFUSED in str(error)
        return True
    return False


def fail_at(monkeypatch, number):
    """Makes the import of the number-th group fail, once."""
    really, count = ops.import_rows, []

    def import_rows(*arguments, **keywords):
        count.append(1)
        if len(count) == number:
            raise tf.errors.ResourceExhaustedError(None, None, "no memory")
        return really(*arguments, **keywords)

    monkeypatch.setattr(ops, "import_rows", import_rows)


def watch(monkeypatch, look):
    """Calls `look(table_name)` before each import of a group."""
    really = ops.import_rows

    def import_rows(*arguments, table, **keywords):
        look(table)
        return really(*arguments, table=table, **keywords)

    monkeypatch.setattr(ops, "import_rows", import_rows)


@pytest.fixture
def draws(monkeypatch):
    """The new generations of restores, counted per server."""
    really, drawn = ops.end_restore, []

    def end_restore(*arguments, **keywords):
        left = really(*arguments, **keywords)
        if not left.numpy().size:
            drawn.append(keywords["generation"])
        return left

    monkeypatch.setattr(ops, "end_restore", end_restore)
    return drawn


@pytest.mark.parametrize(
    "use",
    [
        lambda table: table.lookup([1]),
        lambda table: table.lookup_with_exists([1]),
        lambda table: table.apply_gradients([1], [[1.0, 1.0]]),
        lambda table: table.assign([1], [[1.0, 1.0]]),
        lambda table: table.remove([1]),
        lambda table: table.size(),
        lambda table: table.sweep(),
        lambda table: list(table.export()),
        lambda table: table_state.serialize(table),
        lambda table: table.table_set.start_deltas(),
        lambda table: table.table_set.take_delta(0, 0),
        lambda table: table.table_set.generations(),
        lambda table: ops.renew(servers_of(table.table_set)[0].handle, 1),
    ],
)
def test_a_table_that_is_being_restored_refuses_its_use(use):
    (table,) = make_tables("movie")
    fill(table)
    with mt.checkpoint.restoring(table):
        with pytest.raises(
            tf.errors.AbortedError,
            match=r"Table set 'monolith_tf/.*' is being restored on shard 0 of "
            r"2, server .*CPU:0\. Expected a call after the end",
        ):
            use(table)
        assert table.stats().num_rows == len(IDS)
    assert all_equal(table, 1.0)


def test_a_restore_ends_with_one_new_generation_per_server(tmp_path, draws):
    tables = make_tables("movie", "user")
    for table in tables:
        fill(table)
    path = tf.train.Checkpoint(tables=tables).write(str(tmp_path / "c"))
    before = tables[0].table_set.generations()
    tf.train.Checkpoint(tables=tables).read(path)
    after = tables[0].table_set.generations()
    assert draws == after
    assert set(before).isdisjoint(after)


def test_no_table_is_usable_before_the_last_one_is_restored(
    tmp_path, monkeypatch
):
    tables = make_tables("movie", "user")
    for table in tables:
        fill(table)
    path = tf.train.Checkpoint(tables=tables).write(str(tmp_path / "c"))
    for table in tables:
        fill(table, 5.0)
    seen = []
    watch(monkeypatch, lambda name: seen.append((name, *map(refuses, tables))))
    tf.train.Checkpoint(tables=tables).read(path)
    assert {name for name, *_ in seen} == {"movie", "user"}
    assert all(movie and user for _, movie, user in seen)
    assert all(all_equal(table, 1.0) for table in tables)


def test_a_table_that_is_tracked_later_is_restored_by_itself(tmp_path, draws):
    saved = make_tables("movie", "user")
    fill(saved[0], 1.0)
    fill(saved[1], 2.0)
    saver = tf.train.Checkpoint(movie=saved[0], user=saved[1])
    path = saver.write(str(tmp_path / "c"))
    movie, user = make_tables("movie", "user")
    checkpoint = tf.train.Checkpoint(movie=movie)
    checkpoint.read(path)
    assert all_equal(movie, 1.0)
    assert all_equal(user, 0.0)
    checkpoint.user = user
    assert all_equal(user, 2.0)
    assert len(draws) == 2 * 2


def test_a_restore_that_failed_half_way_stays_refused_until_the_next(
    tmp_path, monkeypatch
):
    (table,) = make_tables("movie")
    fill(table)
    before = table.table_set.generations()
    checkpoint = tf.train.Checkpoint(table=table)
    path = checkpoint.write(str(tmp_path / "c"))
    with monkeypatch.context() as patch:
        fail_at(patch, 20)
        with pytest.raises(tf.errors.ResourceExhaustedError):
            checkpoint.read(path)
    assert 0 < table.stats().num_rows < len(IDS)
    with pytest.raises(tf.errors.AbortedError, match="restore again, or call"):
        table.apply_gradients([1], [[1.0, 1.0]])
    checkpoint.read(path)
    assert all_equal(table, 1.0)
    assert set(before).isdisjoint(table.table_set.generations())


def test_an_abandoned_restore_leaves_empty_tables(tmp_path, monkeypatch):
    tables = make_tables("movie", "user")
    for table in tables:
        fill(table)
    checkpoint = tf.train.Checkpoint(tables=tables)
    path = checkpoint.write(str(tmp_path / "c"))
    with monkeypatch.context() as patch:
        fail_at(patch, 20)
        with pytest.raises(tf.errors.ResourceExhaustedError):
            checkpoint.read(path)
    tables[0].table_set.abandon_restore()
    assert [table.size() for table in tables] == [0, 0]
    fill(tables[1], 3.0)
    assert all_equal(tables[1], 3.0)


def test_without_a_restore_there_is_nothing_to_abandon_but_the_generation():
    (table,) = make_tables("movie")
    fill(table)
    before = table.table_set.generations()
    table.table_set.abandon_restore()
    assert all_equal(table, 1.0)
    assert set(before).isdisjoint(table.table_set.generations())


def test_a_graph_abandons_a_restore_by_its_initializers():
    with tf.Graph().as_default():
        table = mt.Table(mt.TableConfig("movie", dim=2))
        with pytest.raises(ValueError, match="Received: tables of a tf.Graph"):
            table.table_set.abandon_restore()


def test_the_rest_of_a_failed_restore_is_named_and_stays_refused(
    tmp_path, monkeypatch
):
    tables = make_tables("movie", "user")
    for table in tables:
        fill(table)
    path = tf.train.Checkpoint(tables=tables).write(str(tmp_path / "c"))
    with monkeypatch.context() as patch:
        fail_at(patch, 20)
        with pytest.raises(tf.errors.ResourceExhaustedError):
            mt.checkpoint.restore_tables(tables, path, only=["user"])
    with pytest.raises(
        CheckpointError, match=r"\['user'\] are still to be restored"
    ):
        mt.checkpoint.restore_tables(tables, path, only=["movie"])
    assert refuses(tables[0])
    with pytest.raises(CheckpointError, match="abandon_restore"):
        tf.train.Checkpoint(movie=tables[0]).read(write_alone(tmp_path))
    mt.checkpoint.restore_tables(tables, path, only=["user"])
    assert not any(map(refuses, tables))


def write_alone(tmp_path):
    """A checkpoint of one table under the name `movie`."""
    (table,) = make_tables("movie")
    fill(table)
    return tf.train.Checkpoint(movie=table).write(str(tmp_path / "alone"))


def test_a_block_refuses_the_tables_of_its_model_from_its_beginning():
    movie, user = make_tables("movie", "user")
    fill(movie)
    before = movie.table_set.generations()
    with mt.checkpoint.restoring([movie]):
        assert refuses(movie)
        assert refuses(user)
        with mt.checkpoint.restoring(user):
            assert refuses(user)
        assert refuses(user)
    assert all_equal(movie, 1.0)
    assert set(before).isdisjoint(movie.table_set.generations())


def test_a_block_that_fails_before_a_table_changed_lets_them_be_used():
    (table,) = make_tables("movie")
    fill(table)
    with pytest.raises(ZeroDivisionError), mt.checkpoint.restoring(table):
        raise ZeroDivisionError
    assert all_equal(table, 1.0)


def test_a_checkpoint_that_does_not_fit_leaves_the_tables_usable(tmp_path):
    (table,) = make_tables("movie")
    fill(table)
    path = tf.train.Checkpoint(table=table).write(str(tmp_path / "c"))
    with mt.TableSet():
        other = mt.Table(
            mt.TableConfig("movie", 2, optimizer=mt.optimizers.Adam())
        )
    other.assign([1], [[7.0, 7.0]])
    with pytest.raises(CheckpointError, match="do not fit"):
        tf.train.Checkpoint(table=other).read(path)
    assert other.lookup([1]).numpy().tolist() == [[7.0, 7.0]]


def test_restores_of_weights_alone_are_refused_meanwhile_too(
    tmp_path, monkeypatch
):
    (table,) = make_tables("movie")
    fill(table)
    path = tf.train.Checkpoint(table=table).write(str(tmp_path / "c"))
    fill(table, 5.0)
    really, seen = ops.assign, []

    def assign(*arguments, **keywords):
        seen.append(refuses(table))
        return really(*arguments, **keywords)

    monkeypatch.setattr(ops, "assign", assign)
    mt.checkpoint.restore_tables(table, path, slots=False)
    assert seen
    assert all(seen)
    assert all_equal(table, 1.0)


def test_a_restore_does_not_read_the_rows_that_it_replaces(
    tmp_path, monkeypatch
):
    (table,) = make_tables("movie")
    fill(table)
    checkpoint = tf.train.Checkpoint(table=table)
    path = checkpoint.write(str(tmp_path / "c"))
    fill(table, 5.0)

    def export_groups(*_, **__):
        raise AssertionError("a restore read the table")

    monkeypatch.setattr(ops, "export_groups", export_groups)
    checkpoint.read(path)
    assert all_equal(table, 1.0)
    checkpoint.restore(path)
    with pytest.raises(AssertionError, match="a restore read the table"):
        checkpoint.write(path)


def restored_in_a_graph(path, names, begin=lambda: None):
    """Restores tables by a saver in a graph; their rows of id 7."""
    with tf.Graph().as_default() as graph:
        with mt.TableSet(num_shards=2):
            tables = [mt.Table(mt.TableConfig(name, dim=2)) for name in names]
        saver = tf.compat.v1.train.Saver(
            mt.checkpoint.tf1_graph.saved_variables(graph)
        )
        rows = [table.lookup(tf.constant([7], tf.int64)) for table in tables]
        begin()
        with tf.compat.v1.Session() as session:
            saver.restore(session, path)
            return graph, [row.tolist() for row in session.run(rows)]


@pytest.fixture
def saved_by_a_graph(tmp_path):
    """A checkpoint of two tables of a graph."""
    with tf.Graph().as_default() as graph:
        with mt.TableSet(num_shards=2):
            tables = [
                mt.Table(mt.TableConfig(name, dim=2))
                for name in ("movie", "user")
            ]
        for table in tables:
            table.assign(tf.constant([7], tf.int64), [[1.0, 2.0]])
        assigned = [
            operation
            for operation in graph.get_operations()
            if operation.type == "MonolithAssign"
        ]
        saver = tf.compat.v1.train.Saver(
            mt.checkpoint.tf1_graph.saved_variables(graph)
        )
        with tf.compat.v1.Session() as session:
            session.run(tf.compat.v1.global_variables_initializer())
            session.run(assigned)
            return saver.save(session, str(tmp_path / "graph"))


def test_a_saver_of_a_graph_ends_the_restore_after_all_its_tables_began(
    saved_by_a_graph,
):
    graph, rows = restored_in_a_graph(saved_by_a_graph, ["movie", "user"])
    assert rows == [[[1.0, 2.0]], [[1.0, 2.0]]]
    begun, ended = (
        [op for op in graph.get_operations() if op.type == f"Monolith{kind}"]
        for kind in ("BeginRestore", "EndRestore")
    )
    # Two tables on two servers.
    assert (len(begun), len(ended)) == (4, 4)
    assert all(set(begun) <= ancestors(operation) for operation in ended)


def ancestors(operation):
    """The operations that an operation waits for."""
    found, left = set(), [operation]
    while left:
        one = left.pop()
        before = [*one.control_inputs, *(tensor.op for tensor in one.inputs)]
        left += [op for op in before if op not in found]
        found.update(before)
    return found


def test_a_saver_of_one_table_ends_the_restore_of_that_table(saved_by_a_graph):
    _, rows = restored_in_a_graph(saved_by_a_graph, ["user"])
    assert rows == [[[1.0, 2.0]]]
