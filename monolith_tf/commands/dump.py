"""`monolith-tf dump`: the contents of a file of this library."""

from __future__ import annotations


def add(commands) -> None:
    """Adds the subcommand to the parser's `commands`."""
    parser = commands.add_parser(
        "dump",
        help="show a file of this library",
        description="Shows the contents of delta files, row files, exports, "
        "checkpoints and files of snapshots. A damaged file is an error that "
        "names the offset.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "file",
        nargs="+",
        help="delta file, row file, export directory, checkpoint, or manifest "
        "or part of a snapshot",
    )
    parser.add_argument(
        "--max_ids",
        type=int,
        default=10,
        help="ids to show per table (%(default)s)",
    )
    parser.set_defaults(run=_run)


def _run(arguments) -> int:
    from monolith_tf.serving import dump
    from monolith_tf.snapshots import dump as snapshot_dump

    for path in arguments.file:
        if len(arguments.file) > 1:
            print(f"{path}:")
        is_of_snapshot = snapshot_dump.is_of_snapshot(path)
        describe = snapshot_dump.dump if is_of_snapshot else dump.dump
        for line in describe(path, arguments.max_ids):
            print(line)
    return 0
