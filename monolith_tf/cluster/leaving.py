"""The end of a process that is to be restarted."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

# sysexits.h: a temporary failure, try again.
EXIT_RESTART = 75


def leave_for_restart(reason: str) -> NoReturn:
    """Ends the process at once with exit code 75, and says why.

    It closes nothing else, because threads of a coordinator may wait for a dead
    server without a limit.

    Args:
        reason: What happened, in one line.
    """
    print(
        f"monolith-tf: {reason}: the process exits with code {EXIT_RESTART} to "
        "be restarted",
        file=sys.stderr,
        flush=True,
    )
    sys.stdout.flush()
    os._exit(EXIT_RESTART)
