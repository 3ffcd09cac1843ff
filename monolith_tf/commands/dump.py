"""`monolith-tf dump`: the contents of a file of this library."""

from __future__ import annotations


def add(commands) -> None:
    """Adds the subcommand to the parser's `commands`."""
    parser = commands.add_parser(
        "dump",
        help="show a file of this library",
        description="Shows the contents of delta files, row files, exports and "
        "checkpoints. A damaged file is an error that names the offset.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "file",
        nargs="+",
        help="delta file, row file, export directory or checkpoint",
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

    for path in arguments.file:
        if len(arguments.file) > 1:
            print(f"{path}:")
        for line in dump.dump(path, arguments.max_ids):
            print(line)
    return 0
