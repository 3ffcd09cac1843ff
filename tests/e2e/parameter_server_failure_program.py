"""Kills a parameter server and starts it again, empty; writes what happens.

python parameter_server_failure_program.py REPORT.json
"""

import json
import os
import pathlib
import signal
import sys

import numpy as np
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.checkpoint import table_state
from monolith_tf.cluster import ChildProcess
from monolith_tf.cluster import LocalCluster

IDS = np.arange(20)


def attempt(call):
    """Returns what a call gave, or its error's name and message."""
    try:
        return {"value": np.asarray(call()).tolist()}
    except (tf.errors.OpError, mt.MonolithError) as error:
        return {"error": type(error).__name__, "message": str(error)}


def renew_handles(table_set):
    """Names the table sets again, as a program does that connects anew."""
    for shard, device in enumerate(table_set.devices):
        with tf.device(device):
            table_set.handles[shard] = mt.ops.table_set_handle(
                f"{table_set._name}/{shard}"
            )


def main():
    """Runs everything on one cluster."""
    report = {}
    with LocalCluster(num_ps=2, num_workers=1) as cluster:
        strategy = tf.distribute.ParameterServerStrategy(
            cluster.cluster_resolver
        )
        coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
        with strategy.scope():
            table = mt.Table(
                mt.TableConfig(
                    "movie", dim=1, initializer=mt.initializers.Zeros()
                )
            )
        table.assign(IDS, np.ones([20, 1], np.float32))
        owners = table_state.owners(tf.constant(IDS), 2).numpy()
        lookup = tf.function(
            lambda ids: table.lookup(ids)[:, 0],
            input_signature=[tf.TensorSpec([None], tf.int64)],
        )

        def on_worker():
            result = coordinator.schedule(lookup, args=(tf.constant(IDS),))
            coordinator.join()
            return result.fetch()

        def from_chief():
            return table.lookup(IDS)[:, 0]

        report["before"] = [attempt(on_worker), attempt(from_chief)]
        victim = cluster.children[-1]
        assert victim.name == "ps 1"
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait(60)
        report["away"] = [attempt(on_worker), attempt(from_chief)]

        addresses = cluster.cluster_resolver.cluster_spec().as_dict()
        task = {"type": "ps", "index": 1}
        with ChildProcess(
            "ps 1 again",
            [sys.executable, "-m", "monolith_tf.cluster"],
            cluster.log_directory / "ps-1-again.log",
            {"TF_CONFIG": json.dumps({"cluster": addresses, "task": task})},
        ) as child:
            child.wait_until_reachable(
                int(addresses["ps"][1].rsplit(":", 1)[1]), 60
            )
            report["back"] = [attempt(on_worker), attempt(from_chief)]
            # The least that a program must do to talk to the new server.
            tf.config.experimental_connect_to_cluster(
                cluster.cluster_resolver.cluster_spec(),
                job_name="chief",
                task_index=0,
            )
            renew_handles(table.table_set)
            report["connected"] = attempt(from_chief)
            report["other_server"] = attempt(
                lambda: mt.ops.lookup_with_exists(
                    table.table_set.handles[0],
                    tf.constant(IDS[owners == 0]),
                    table="movie",
                    dim=1,
                )[0]
            )
            report["connected_apply"] = attempt(
                lambda: table.apply_gradients(
                    IDS,
                    np.ones([20, 1], np.float32),
                    step=tf.constant(0, tf.int64),
                )
            )
            report["table_set"] = f"{table.table_set._name}/1"
    pathlib.Path(sys.argv[1]).write_text(json.dumps(report))


if __name__ == "__main__":
    main()
