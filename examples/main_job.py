"""Trains in batch, exports, serves, then learns online while it serves."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import pathlib
import shutil
import time
from typing import Any

import numpy as np
import tqdm
from auc import auc
from online import OnlineResult
from online import learn_online
from plot import plot_auc
from served import MODEL
from served import Server
from trainer import Trainer

import monolith_tf as mt
from monolith_tf import data
from monolith_tf import serving
from monolith_tf.placement.registry import tables_of


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of the job, the flags of demo.py.

    Attributes:
        name: Name of the data in the report.
        seed: Seed of the weights and of the random probes.
        num_ps: Number of parameter servers.
        num_workers: Number of workers.
        batch_size: Examples per step in the batch half.
        batch_epochs: Epochs of the batch half.
        chunk: Examples that are scored, then trained on, online.
        push_interval_seconds: Least time from one push to the next.
        freshness_rows: Number of changed rows to time.
        output_dir: Folder for logs, exports and the plot.
    """

    name: str
    seed: int
    num_ps: int
    num_workers: int
    batch_size: int
    batch_epochs: int
    chunk: int
    push_interval_seconds: float
    freshness_rows: int
    output_dir: pathlib.Path


def run(ratings: data.Ratings, options: Options) -> dict[str, Any]:
    """Runs the whole job.

    Args:
        ratings: Training data in time order; the first half in batch.
        options: Options of the job.

    Returns:
        The report, which `report.summary` prints.

    Raises:
        MonolithError: If a process dies or deltas cannot be delivered.
        TimeoutError: If a change does not reach the server in time.
    """
    started = time.monotonic()
    half = len(ratings) // 2
    past, stream = ratings[:half], ratings[half:]
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(
            tqdm.tqdm(
                desc="start",
                total=options.batch_epochs * len(past) + len(stream),
                unit="ratings",
                unit_scale=True,
            )
        )
        cluster = stack.enter_context(
            mt.cluster.LocalCluster(
                options.num_ps,
                options.num_workers,
                log_directory=options.output_dir / "logs",
            )
        )
        stack.enter_context(mt.cluster.DeathWatch(cluster.children))
        # A freed model tells its servers; do it while they run.
        stack.callback(gc.collect)
        measured, online = _train_and_serve(cluster, past, stream, options, bar)
    return {
        "data": options.name,
        "seed": options.seed,
        "examples": {"batch": len(past), "online": len(stream)},
        **measured,
        "freshness": _freshness(online),
        "auc": _auc_and_plot(past, stream, online, options),
        "plot": str(_plot_path(options)),
        "logs": str(options.output_dir / "logs"),
        "seconds": time.monotonic() - started,
    }


def _train_and_serve(
    cluster: mt.cluster.LocalCluster,
    past: data.Ratings,
    stream: data.Ratings,
    options: Options,
    bar: tqdm.tqdm,
) -> tuple[dict[str, Any], OnlineResult]:
    """Returns speeds, rows and deltas for the report, and the online half."""
    trainer = Trainer(cluster, options.num_workers, options.seed)
    # Closes in reverse order, pusher first, on every exit.
    with contextlib.ExitStack() as stack:
        bar.set_description("batch")
        fit_started = time.monotonic()
        num_fit = trainer.fit(
            past, options.batch_epochs, options.batch_size, bar.update
        )
        fit_seconds = time.monotonic() - fit_started
        bar.update(options.batch_epochs * len(past) - bar.n)

        bar.set_description("export")
        export = functools.partial(
            serving.export_saved_model,
            trainer.model,
            options.output_dir / "live",
        )
        record = export()
        version_folder = pathlib.Path(record.path)
        shutil.copytree(
            version_folder, options.output_dir / "frozen" / version_folder.name
        )
        bar.set_description("serve")
        live, frozen = (
            stack.enter_context(
                Server(
                    name,
                    options.output_dir / name,
                    options.output_dir / "logs",
                )
            )
            for name in ("live", "frozen")
        )
        servers = [live.process, frozen.process]
        stack.callback(mt.cluster.stop_all, servers)
        stack.enter_context(mt.cluster.DeathWatch(servers))
        live.wait_until_available()
        frozen.wait_until_available()

        bar.set_description("online")
        pusher = stack.enter_context(
            serving.DeltaPusher(
                trainer.model,
                live.address,
                MODEL,
                options.output_dir / "deltas",
                record,
                export_fn=export,
                interval_seconds=options.push_interval_seconds,
            )
        )
        pusher.start()
        online = learn_online(
            trainer,
            live,
            frozen,
            pusher,
            past,
            stream,
            chunk=options.chunk,
            freshness_rows=options.freshness_rows,
            seed=options.seed,
            on_progress=bar.update,
        )
        pusher.flush()
        bar.set_description("done")
        rows = {table.name: table.size() for table in tables_of(trainer.model)}
    pushed = pusher.metrics.as_dict()
    return {
        "examples_per_second": {
            "batch": num_fit / fit_seconds,
            "online": len(stream) / online.seconds,
        },
        "rows": rows,
        "deltas": {
            name: int(pushed[name])
            for name in ("deltas", "chunks", "rows", "bytes", "resyncs")
        },
    }, online


def _freshness(online: OnlineResult) -> dict[str, Any]:
    seconds = online.freshness_seconds
    p50, p99, most = (
        np.percentile(seconds, [50, 99, 100]) if len(seconds) else 3 * [np.nan]
    )
    return {
        "p50_seconds": float(p50),
        "p99_seconds": float(p99),
        "max_seconds": float(most),
        "rows": len(seconds),
        "new_rows": online.num_new_rows,
    }


def _auc_and_plot(
    past: data.Ratings,
    stream: data.Ratings,
    online: OnlineResult,
    options: Options,
) -> dict[str, Any]:
    unseen = ~np.isin(stream.user_id, past.user_id)
    unseen |= ~np.isin(stream.movie_id, past.movie_id)
    plot_auc(
        _plot_path(options),
        stream.label,
        online.live,
        online.frozen,
        unseen,
        f"{options.name}, seed {options.seed}",
    )
    return {
        name: {
            "live": auc(stream.label[mask], online.live[mask]),
            "frozen": auc(stream.label[mask], online.frozen[mask]),
            "requests": int(mask.sum()),
        }
        for name, mask in (
            ("all", np.ones(len(stream), bool)),
            ("unseen", unseen),
        )
    }


def _plot_path(options: Options) -> pathlib.Path:
    return options.output_dir / "auc.png"
