"""Faults of a delivery: each takes a job, injects one, and heals it.

A fault draws its numbers from `job.chance`. `CATALOG` is the one place to add
another.
"""

from __future__ import annotations

import signal

import disks
import moments
import process_faults

BOTH = ()
# A trainer exports and saves before it reaches most failpoints.
FIRE_SECONDS = 15.0


def _pause(job, most: float = 2.0) -> float:
    return job.chance.uniform(0.1, most)


# --- Processes --------------------------------------------------------------


def kill_server(job):
    """The server dies and comes back after a while."""
    with job.fault("server SIGKILL"):
        job.end_server(signal.SIGKILL)
        job.wait(_pause(job))
        job.start_server()


def terminate_server(job):
    """The server is asked to end and comes back."""
    with job.fault("server SIGTERM"):
        job.end_server(signal.SIGTERM)
        job.start_server()


def stop_server(job):
    """The server hangs for longer than calls wait."""
    with job.fault("server SIGSTOP"):
        with process_faults.stopped(job.server.pid):
            job.wait(_pause(job, 4.0))


def kill_trainer(job):
    """The trainer dies and restores its last checkpoint."""
    with job.fault("trainer SIGKILL"):
        job.restart_trainer()


def stop_trainer(job):
    """The trainer hangs."""
    if not job.trainer.is_running():
        return
    with job.fault("trainer SIGSTOP"):
        with process_faults.stopped(job.trainer.pid):
            # Not job.wait: that would look at a process that is stopped.
            job.pause(_pause(job, 3.0))


def jump_clock(job):
    """The trainer's wall clock jumps by a day."""
    seconds = job.chance.choice((-86400, 86400))
    with job.fault("trainer clock jump"):
        job.clock.jump(seconds)
        job.wait(_pause(job, 1.0))
        job.clock.jump(0)


def fail_at_a_moment(job):
    """The trainer fails at a failpoint."""
    kind, fail_at = moments.draw(job.chance)
    with job.fault(f"failpoint at {kind}"):
        job.restart_trainer(fail_at)
        if kind == "run":
            job.wait_until_it_fires(FIRE_SECONDS)
        job.wait(_pause(job))


# --- Network ----------------------------------------------------------------


def delay(job):
    """Bytes are late."""
    with job.fault("network delay"):
        job.network.delay(job.chance.uniform(0.02, 0.4))
        job.wait(_pause(job))
        job.network.heal()


def drop(job):
    """Bytes are lost, both ways or one."""
    with job.fault("network drop"):
        job.network.drop(*job.chance.choice((BOTH, ("request",), ("reply",))))
        job.wait(_pause(job, 4.0))
        job.network.heal()


def partition(job):
    """Bytes are held back, both ways or one, and come at the end."""
    with job.fault("network partition"):
        directions = job.chance.choice((BOTH, ("request",), ("reply",)))
        job.network.partition(*directions)
        job.wait(_pause(job, 4.0))
        job.network.heal()


def cut(job):
    """A connection is reset within a request or a reply."""
    with job.fault("network cut"):
        job.network.cut(
            job.chance.choice(("request", "reply")), job.chance.randint(0, 2000)
        )
        job.wait(_pause(job, 1.0))
        job.network.heal()


def half_open(job):
    """The server accepts and never answers."""
    with job.fault("network half-open"):
        job.network.half_open()
        job.network.reset()
        job.wait(_pause(job, 3.0))
        job.network.heal()


def refuse(job):
    """The server refuses connections."""
    with job.fault("network refuse"):
        job.network.refuse()
        job.wait(_pause(job))
        job.network.heal()


# --- Calls ------------------------------------------------------------------


def repeat_calls(job):
    """Calls arrive twice."""
    with job.fault("call repeated"):
        job.calls.repeat_next(job.chance.randint(1, 5))
        job.wait(_pause(job, 1.0))


def repeat_calls_late(job):
    """Copies of calls arrive after later ones."""
    with job.fault("call repeated late"):
        job.calls.repeat_next_late(job.chance.randint(1, 5))
        job.wait(_pause(job, 1.0))
        job.lose_late_calls()


def lose_requests(job):
    """Calls do not arrive."""
    with job.fault("request lost"):
        job.calls.lose_next_request(job.chance.randint(1, 5))
        job.wait(_pause(job, 1.0))


def lose_replies(job):
    """Calls arrive, and their replies do not."""
    with job.fault("reply lost"):
        job.calls.lose_next_reply(job.chance.randint(1, 5))
        job.wait(_pause(job, 1.0))


# --- Disks ------------------------------------------------------------------


def fill_disk(job):
    """The disk of the log is full for a while."""
    if job.disk is None:
        return
    if not job.disk.is_real:
        with job.fault("disk full (failpoint)"):
            job.restart_trainer("delta_log.before_write::enospc")
            job.wait(_pause(job))
            job.restart_trainer()
        return
    with job.fault("disk full"), job.disk.full():
        job.wait(_pause(job))


def slow_disk(job):
    """Each fsync of the log takes long."""
    with job.fault("disk slow"):
        job.restart_trainer("delta_log.before_fsync::sleep=0.3")
        job.wait_until_it_fires(FIRE_SECONDS)
        job.wait(_pause(job))
        job.restart_trainer()


def lose_power(job):
    """The machine of trainer and server loses power."""
    if job.power is None:
        return
    with job.fault("power loss"):
        job.end_server(signal.SIGKILL)
        job.trainer.end(signal.SIGKILL)
        job.power.cut()
        job.start_server()
        job.start_trainer()


def damage_log(job):
    """A file of the log is damaged while trainer and server are down."""
    with job.fault("log damaged"):
        job.end_server(signal.SIGKILL)
        job.trainer.end(signal.SIGKILL)
        files = sorted((job.folder / "disk" / "log").rglob("*.delta"))
        if files:
            name = job.chance.choice(sorted(disks.DAMAGES))
            disks.DAMAGES[name](job.chance.choice(files))
        job.start_server()
        job.start_trainer()


def damage_snapshot(job):
    """A file of the newest snapshot is damaged while the trainer is down."""
    if job.saves != "snapshots":
        return
    with job.fault("snapshot damaged"):
        job.trainer.end(signal.SIGKILL)
        folder = job.folder / "disk" / "snapshots"
        # A restore falls back to an older one, if there is one.
        whole = sorted(path.parent for path in folder.glob("*/MANIFEST"))
        if len(whole) > 1:
            files = [path for path in sorted(whole[-1].iterdir())]
            files.append(folder / "CURRENT")
            name = job.chance.choice(sorted(disks.DAMAGES))
            disks.DAMAGES[name](job.chance.choice(files))
        job.start_trainer()


# Fault -> weight. Those that restart the trainer take longest.
CATALOG = {
    kill_server: 2,
    terminate_server: 1,
    stop_server: 3,
    kill_trainer: 2,
    stop_trainer: 3,
    jump_clock: 2,
    fail_at_a_moment: 4,
    delay: 4,
    drop: 4,
    partition: 4,
    cut: 6,
    half_open: 3,
    refuse: 4,
    repeat_calls: 6,
    repeat_calls_late: 6,
    lose_requests: 4,
    lose_replies: 6,
    fill_disk: 3,
    slow_disk: 1,
    lose_power: 2,
    damage_log: 1,
    damage_snapshot: 1,
}


def draw(job, count: int) -> list:
    """Returns faults of the catalog."""
    return job.chance.choices(
        list(CATALOG), weights=list(CATALOG.values()), k=count
    )
