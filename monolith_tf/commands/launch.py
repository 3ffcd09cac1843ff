"""`monolith-tf launch`: a program on a cluster of local processes."""

from __future__ import annotations

import argparse
import logging
import sys


def add(commands) -> None:
    """Adds the subcommand to the parser's `commands`."""
    parser = commands.add_parser(
        "launch",
        help="train a program on a cluster of local processes",
        description="Starts a chief, workers and parameter servers, each with "
        "its TF_CONFIG, a free port and a log. Restarts processes that die or "
        "hang. "
        "Exits with the exit code of the chief. Ctrl-C stops all processes.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--num_ps",
        type=int,
        default=1,
        help="number of parameter servers (%(default)s)",
    )
    parser.add_argument(
        "--num_workers",
        type=int,
        default=1,
        help="number of workers (%(default)s); 0 is allowed with "
        "--mode=estimator, where the chief trains too",
    )
    parser.add_argument(
        "--mode",
        choices=("keras", "estimator"),
        default="keras",
        help="keras: the program is the chief, the others serve it; "
        "estimator: every role runs the program (%(default)s)",
    )
    parser.add_argument(
        "--evaluator",
        action="store_true",
        help="with --mode=estimator: run an evaluator too",
    )
    parser.add_argument(
        "--max_restarts",
        type=int,
        default=10,
        help="restarts allowed per process and hour (%(default)s)",
    )
    parser.add_argument(
        "--heartbeat_timeout_seconds",
        type=float,
        default=5.0,
        help="a process that does not answer for this time counts as hung and "
        "is restarted (%(default)s); 0 turns heartbeats off",
    )
    parser.add_argument(
        "--progress_timeout_seconds",
        type=float,
        default=0.0,
        help="a chief that finishes no step for this time counts as hung, once "
        "it has begun to report (%(default)s); 0 for no limit",
    )
    parser.add_argument(
        "--drain_seconds",
        type=float,
        default=25.0,
        help="after SIGTERM, time of the chief to leave while the others still "
        "serve it (%(default)s)",
    )
    parser.add_argument(
        "--log_dir",
        default=None,
        help="folder of the logs, one file per process (default: a new "
        "temporary folder)",
    )
    parser.add_argument(
        "--metrics",
        action="store_true",
        help="serve Prometheus metrics from every process on its own port "
        "(a Keras chief needs mt.callbacks.TrainingMetrics); see "
        "`monolith-tf cluster-status LOG_DIR`",
    )
    parser.add_argument(
        "--import_module",
        action="append",
        default=[],
        metavar="MODULE",
        help="with --mode=keras: a module that workers and parameter servers "
        "import, such as one that loads custom ops; repeatable",
    )
    parser.add_argument("program", help="the program, such as train.py")
    parser.add_argument(
        "flags",
        nargs=argparse.REMAINDER,
        help="arguments of the program",
    )
    parser.set_defaults(run=_run)


def _run(arguments) -> int:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s launch: %(message)s"
    )
    from monolith_tf.cluster.job import Job

    return Job(
        [arguments.program, *arguments.flags],
        arguments.num_ps,
        arguments.num_workers,
        mode=arguments.mode,
        evaluator=arguments.evaluator,
        max_restarts=arguments.max_restarts,
        heartbeat_timeout_seconds=arguments.heartbeat_timeout_seconds,
        progress_timeout_seconds=arguments.progress_timeout_seconds,
        drain_seconds=arguments.drain_seconds,
        log_directory=arguments.log_dir,
        metrics=arguments.metrics,
        modules=arguments.import_module,
        on_output=_print,
    ).run()


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
