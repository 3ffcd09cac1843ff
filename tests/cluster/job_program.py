"""A role of a job, without TensorFlow; what it does is in its arguments.

python job_program.py STATE_DIRECTORY [ROLE:ACTION ...]

ROLE is such as worker-0; it takes its n-th action at its n-th start, and its
last ones from then on: `end`, `exit=CODE`, `kill` (itself), `serve` (until it
is ended), `deaf` (the same, whatever SIGTERM asks), `drain` (until SIGTERM;
then it leaves a file `left`), `outlive` (until SIGTERM; then it says if there
is a file `left`), `after=ROLE*N` (ends when that role had N starts) or
`fail_after=ROLE*N` (ends with code 1 then). A role that is not named ends, a
parameter server serves.
"""

import json
import os
import pathlib
import signal
import sys
import time


def wait_for_sigterm():
    signal.sigwait([signal.SIGTERM])


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
    if action in ("drain", "outlive", "deaf"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
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
    left = pathlib.Path(directory, "left")
    if action == "drain":
        wait_for_sigterm()
        left.touch()
    if action == "outlive":
        wait_for_sigterm()
        print(f"the chief left first: {left.exists()}", flush=True)
    if action == "deaf":
        while True:
            wait_for_sigterm()
    if action == "serve":
        signal.pause()
    if kind == "fail_after":
        sys.exit(1)
    if kind == "exit":
        sys.exit(int(argument))


if __name__ == "__main__":
    main()
