"""Part of `cluster_program.py`: kills a server and starts it again, empty."""

import json
import os
import signal
import sys

import numpy as np
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.cluster import ChildProcess
from monolith_tf.placement.sharding import owners_of
from monolith_tf.placement.table_set import Server
from monolith_tf.placement.table_set import servers_of

IDS = np.arange(20)


def attempt(call):
    """Returns what a call gave, or its error's name and message."""
    try:
        return {"value": np.asarray(call()).tolist()}
    except (tf.errors.OpError, mt.MonolithError) as error:
        return {"error": type(error).__name__, "message": str(error)}


def renew_handles(table_set):
    """Names the table sets again, as a program does that connects anew."""
    servers = []
    for shard, device in enumerate(table_set.devices):
        with tf.device(device):
            handle = mt.ops.table_set_handle(f"{table_set._name}/{shard}")
        servers.append(Server(device, handle))
    table_set._servers = tuple(servers)


def run(cluster, strategy, coordinator, directory):
    """Returns what is read before, while it is away, and after."""
    del directory
    report = {}
    with strategy.scope(), mt.TableSet():
        table = mt.Table(
            mt.TableConfig(
                "watched", dim=1, initializer=mt.initializers.Zeros()
            )
        )
    table.assign(IDS, np.ones([20, 1], np.float32))
    owners = owners_of(tf.constant(IDS), 2).numpy()
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
    victim.wait()
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
            int(addresses["ps"][1].rsplit(":", 1)[1]), 600.0
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
                servers_of(table.table_set)[0].handle,
                tf.constant(IDS[owners == 0]),
                table="watched",
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
    return report
