"""Runs a command that the kernel kills when its parent ends.

A script of the standard library alone, which takes some milliseconds:

    python -I -S launch.py PARENT_PID COMMAND [ARGUMENT ...]

The kernel's setting survives `exec`, so no process remains between parent and
command. `preexec_fn` would run Python between fork and exec in a process with
many threads, which can deadlock.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Requests to be killed with the parent, then executes the command."""
    parent, *command = arguments
    if sys.platform.startswith("linux"):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != int(parent):
        sys.exit(f"launch.py: parent {parent} ended before {command[0]} began")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
