"""A role of a job, without TensorFlow; what it does is in its arguments.

python job_program.py STATE_DIRECTORY [ROLE:ACTION ...]

ROLE is such as worker-0; it takes its n-th action at its n-th start, and its
last ones from then on: `end`, `exit=CODE`, `kill` (itself), `serve` (until it
is ended), `after=ROLE*N` (ends when that role had N starts) or
`fail_after=ROLE*N` (ends with code 1 then). A role that is not named ends, a
parameter server serves.
"""

import json
import os
import pathlib
import signal
import sys
import time


def main():
    directory, *actions = sys.argv[1:]
    config = json.loads(os.environ["TF_CONFIG"])
    name = "{type}-{index}".format(**config["task"])
    starts = pathlib.Path(directory, name)
    with open(starts, "a") as file:
        file.write(json.dumps(config["cluster"]) + "\n")
    mine = [a.partition(":")[2] for a in actions if a.startswith(name + ":")]
    mine = mine or ["serve" if name.startswith("ps") else "end"]
    start = len(starts.read_text().splitlines())
    action = mine[min(start, len(mine)) - 1]
    print(f"start {start} of {name}: {action}", flush=True)
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    kind, _, argument = action.partition("=")
    if kind in ("after", "fail_after"):
        role, _, count = argument.partition("*")
        awaited = pathlib.Path(directory, role)
        while not awaited.exists() or (
            len(awaited.read_text().splitlines()) < int(count)
        ):
            time.sleep(0.01)
    if action == "serve":
        signal.pause()
    if kind == "fail_after":
        sys.exit(1)
    if kind == "exit":
        sys.exit(int(argument))


if __name__ == "__main__":
    main()
