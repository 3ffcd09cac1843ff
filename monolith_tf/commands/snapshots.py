"""`monolith-tf snapshots`: the snapshots of a directory."""

from __future__ import annotations

import datetime


def add(commands) -> None:
    """Adds the subcommand to the parser's `commands`."""
    parser = commands.add_parser(
        "snapshots",
        help="list, verify, compare and remove snapshots",
        description="Lists, verifies, compares and removes the snapshots of a "
        "directory.",
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(dest="action", required=True)
    shown = actions.add_parser(
        "list",
        help="show the snapshots, the newest last",
        allow_abbrev=False,
    )
    shown.set_defaults(run=_list)
    verify = actions.add_parser(
        "verify",
        help="read every byte of snapshots and of those that they continue",
        allow_abbrev=False,
    )
    verify.set_defaults(run=_verify)
    diff = actions.add_parser(
        "diff",
        help="show how many rows differ between two snapshots",
        allow_abbrev=False,
    )
    diff.set_defaults(run=_diff)
    prune = actions.add_parser(
        "prune",
        help="remove old snapshots that no kept one continues",
        allow_abbrev=False,
    )
    prune.set_defaults(run=_prune)
    for action in (shown, verify, diff, prune):
        action.add_argument("directory", help="directory of the snapshots")
    verify.add_argument(
        "number",
        nargs="*",
        type=int,
        help="snapshots to verify; all of them by default",
    )
    for name in ("first", "second"):
        diff.add_argument(name, type=int, help="number of a snapshot")
    prune.add_argument(
        "--keep", type=int, required=True, help="number of snapshots to keep"
    )


def _list(arguments) -> int:
    from monolith_tf.errors import MonolithError
    from monolith_tf.snapshots.store import SnapshotStore

    store = SnapshotStore(arguments.directory)
    print(
        f"{'number':>8} {'step':>10} {'continues':>9} {'rows':>12} "
        f"{'MiB':>10}  written"
    )
    for number in store.numbers():
        try:
            manifest = store.load(number)
        except MonolithError as error:
            print(f"{number:8}  {error}")
            continue
        written = datetime.datetime.fromtimestamp(
            manifest.created_unix_seconds, datetime.timezone.utc
        )
        print(
            f"{number:8} {manifest.step:10} "
            f"{'-' if manifest.is_full else manifest.parent:>9} "
            f"{manifest.num_rows:12} {manifest.num_bytes / 2**20:10.1f}  "
            f"{written:%Y-%m-%d %H:%M:%S} UTC"
        )
    return 0


def _verify(arguments) -> int:
    import tqdm

    from monolith_tf.errors import MonolithError
    from monolith_tf.snapshots.store import SnapshotStore

    store = SnapshotStore(arguments.directory)
    numbers = arguments.number or store.finished()
    is_damaged = not numbers
    if is_damaged:
        print(f"{arguments.directory} has no snapshot.")
    for number in tqdm.tqdm(numbers, unit="snapshot", disable=None):
        try:
            chain = store.check(number, contents=True)
        except MonolithError as error:
            is_damaged = True
            tqdm.tqdm.write(f"{number}: {error}")
        else:
            files = sum(len(x.parts) + len(x.dense) for x in chain)
            tqdm.tqdm.write(f"{number}: whole, {files} files")
    return 1 if is_damaged else 0


def _diff(arguments) -> int:
    from monolith_tf.snapshots.contents import rows_of
    from monolith_tf.snapshots.store import SnapshotStore

    store = SnapshotStore(arguments.directory)
    before = rows_of(store, arguments.first)
    after = rows_of(store, arguments.second)
    for table in sorted(before.keys() | after.keys()):
        old, new = before.get(table, {}), after.get(table, {})
        both = old.keys() & new.keys()
        changed = sum(old[id_] != new[id_] for id_ in both)
        print(
            f"{table}: {len(new) - len(both)} added, "
            f"{len(old) - len(both)} removed, {changed} changed, "
            f"{len(both) - changed} equal"
        )
    return 0


def _prune(arguments) -> int:
    from monolith_tf.snapshots.store import SnapshotStore

    removed = SnapshotStore(arguments.directory).prune(arguments.keep)
    print(f"Removed {removed}.")
    return 0
