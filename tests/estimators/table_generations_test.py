"""Generations that a session reads are those of all servers."""

import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import ops
from monolith_tf.estimators.table_generations import TableGenerations
from monolith_tf.placement.table_set import servers_of

v1 = tf.compat.v1


def test_generations_of_all_servers_and_table_sets_change_by_themselves():
    with tf.Graph().as_default():
        servers = []
        for name, num_shards in (("movie", 2), ("user", 1)):
            with mt.TableSet(num_shards=num_shards):
                table = mt.Table(mt.TableConfig(name, dim=1))
            servers += servers_of(table.table_set)
        generations = TableGenerations()
        renewals = []
        for _, handle in servers:
            with tf.control_dependencies([ops.begin_restore(handle)]):
                renewals.append(ops.end_restore(handle))
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            before = generations.read(session)
            assert len(generations) == len(before) == 3
            assert all(type(x) is int and x > 0 for x in before)
            assert generations.read(session) == before
            for number, renewal in enumerate(renewals):
                session.run(renewal)
                after = generations.read(session)
                assert [x == y for x, y in zip(before, after)] == [
                    server != number for server in range(3)
                ]
                before = after


def test_a_graph_without_tables_has_no_generations():
    with tf.Graph().as_default():
        tf.constant(0)  # A session needs a graph that is not empty.
        generations = TableGenerations()
        with v1.Session() as session:
            assert not generations
            assert generations.read(session) == ()


def test_a_server_without_tables_has_no_generation():
    with tf.Graph().as_default():
        mt.Table(mt.TableConfig("movie", dim=1))
        generations = TableGenerations()
        with v1.Session() as session:
            with pytest.raises(
                tf.errors.FailedPreconditionError,
                match="neither created nor restored",
            ):
                generations.read(session)
