"""The log: durable, in order, bounded, and unharmed by a kill."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from monolith_tf.serving import delta as delta_lib
from monolith_tf.serving import delta_log

EXPORT = 77


def chunk(sequence, stream=0, export_id=EXPORT, num_ids=2):
    ids = np.arange(num_ids, dtype=np.int64)
    return delta_lib.DeltaChunk(
        export_id=export_id,
        generation=1,
        shard=stream,
        num_shards=2,
        from_cut=sequence - 1,
        to_cut=sequence,
        sequence=sequence,
        tables=(
            delta_lib.TableChunk(
                "movie",
                ids,
                np.ones(num_ids, np.bool_),
                np.full((num_ids, 2), sequence, np.float32),
            ),
        ),
    )


def files(directory):
    folder = directory / f"{EXPORT:020d}"
    return sorted(path.name for path in folder.iterdir())


def test_chunks_are_read_back_in_order_from_a_sequence(tmp_path):
    with delta_log.DeltaLog(tmp_path, EXPORT) as log:
        log.append([chunk(1), chunk(2), chunk(1, stream=1)])
        log.append([chunk(3)])
        assert [c.sequence for c in log.read_from(0, 2)] == [2, 3]
        assert log.read(1, 1) == chunk(1, stream=1)


def test_chunks_survive_closing_and_opening(tmp_path):
    with delta_log.DeltaLog(tmp_path, EXPORT) as log:
        log.append([chunk(1), chunk(2)])
    with delta_log.DeltaLog(tmp_path, EXPORT) as log:
        assert list(log.read_from(0, 1)) == [chunk(1), chunk(2)]
        assert log.num_dropped == 0


def test_the_oldest_chunks_are_dropped_beyond_max_bytes(tmp_path):
    with delta_log.DeltaLog(tmp_path, EXPORT, max_bytes=3 * 4096) as log:
        for sequence in range(1, 6):
            log.append([chunk(sequence)])
        assert (log.first_sequence(0), log.last_sequence(0)) == (3, 5)
        assert log.num_dropped == 2
        assert log.num_bytes == 3 * 4096
        assert len(files(tmp_path)) == 3
        with pytest.raises(delta_log.NotInLogError, match="sequences 3 to 5"):
            log.read(0, 2)


def test_chunks_older_than_max_age_are_dropped(tmp_path):
    now = [1000.0]
    with delta_log.DeltaLog(
        tmp_path, EXPORT, max_age_seconds=60, clock=lambda: now[0]
    ) as log:
        log.append([chunk(1)])
        now[0] += 61
        log.append([chunk(2)])
        assert log.first_sequence(0) == 2
        assert log.num_dropped == 1


def test_chunks_of_an_older_export_are_removed(tmp_path):
    with delta_log.DeltaLog(tmp_path, EXPORT) as log:
        log.append([chunk(1)])
        log.start(EXPORT + 1)
        assert log.last_sequence(0) == 0
        log.append([chunk(1, export_id=EXPORT + 1)])
    assert not (tmp_path / f"{EXPORT:020d}").exists()
    with delta_log.DeltaLog(tmp_path, EXPORT + 2) as log:
        assert log.last_sequence(0) == 0
    assert not (tmp_path / f"{EXPORT + 1:020d}").exists()


def test_a_left_over_temporary_file_is_ignored_and_cleaned(tmp_path):
    with delta_log.DeltaLog(tmp_path, EXPORT) as log:
        log.append([chunk(1)])
    left_over = tmp_path / f"{EXPORT:020d}" / ".tmp-00000-2.delta"
    left_over.write_bytes(b"half a chu")
    with delta_log.DeltaLog(tmp_path, EXPORT) as log:
        assert log.last_sequence(0) == 1
    assert not left_over.exists()


@pytest.mark.e2e
def test_what_was_appended_survives_kill_9(tmp_path):
    program = textwrap.dedent(
        """
        import sys
        from monolith_tf.serving import delta, delta_log
        log = delta_log.DeltaLog(sys.argv[1], 77)
        sequence = 1
        while True:
            log.append([delta.DeltaChunk(77, 1, 0, 1, sequence - 1, sequence,
                                         sequence)])
            print(sequence, flush=True)
            sequence += 1
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        acknowledged = 0
        for line in process.stdout:
            acknowledged = int(line)
            if acknowledged >= 20:
                process.send_signal(signal.SIGKILL)
                break
    with delta_log.DeltaLog(tmp_path, EXPORT) as log:
        last = log.last_sequence(0)
        assert last >= acknowledged
        assert [c.sequence for c in log.read_from(0, 1)] == list(
            range(1, last + 1)
        )


def test_a_failed_append_leaves_the_log_as_it_was(tmp_path, monkeypatch):
    with delta_log.DeltaLog(tmp_path, EXPORT) as log:
        log.append([chunk(1)])
        rename = os.rename

        def full_disk(source, target):
            if "00000000000000000003" in target:
                raise OSError(28, "No space left on device")
            rename(source, target)

        monkeypatch.setattr(os, "rename", full_disk)
        with pytest.raises(OSError, match="No space"):
            log.append([chunk(2), chunk(3)])
        monkeypatch.undo()
        assert files(tmp_path) == ["00000-00000000000000000001.delta"]
        log.append([chunk(2)])
        assert log.last_sequence(0) == 2


def test_a_damaged_file_is_refused_and_named(tmp_path):
    with delta_log.DeltaLog(tmp_path, EXPORT) as log:
        log.append([chunk(1)])
        path = tmp_path / f"{EXPORT:020d}" / files(tmp_path)[0]
        data = bytearray(path.read_bytes())
        data[100] ^= 4
        path.write_bytes(data)
        with pytest.raises(delta_lib.CorruptDeltaError, match=str(path)):
            log.read(0, 1)


def test_a_file_under_the_wrong_name_is_refused(tmp_path):
    with delta_log.DeltaLog(tmp_path, EXPORT) as log:
        log.append([chunk(1), chunk(2)])
        folder = tmp_path / f"{EXPORT:020d}"
        first, second = files(tmp_path)
        (folder / second).write_bytes((folder / first).read_bytes())
        with pytest.raises(delta_lib.CorruptDeltaError, match="its name"):
            log.read(0, 2)


def test_chunks_before_a_hole_are_dropped_and_counted(tmp_path):
    with delta_log.DeltaLog(tmp_path, EXPORT) as log:
        log.append([chunk(i) for i in range(1, 5)])
    os.remove(tmp_path / f"{EXPORT:020d}" / files(tmp_path)[1])
    with delta_log.DeltaLog(tmp_path, EXPORT) as log:
        assert log.first_sequence(0) == 3
        assert log.num_dropped == 1


def test_a_second_writer_is_refused_by_name_of_the_first(tmp_path):
    with delta_log.DeltaLog(tmp_path, EXPORT):
        with pytest.raises(delta_log.LogInUseError, match=str(os.getpid())):
            delta_log.DeltaLog(tmp_path, EXPORT)
    delta_log.DeltaLog(tmp_path, EXPORT).close()


def test_chunks_out_of_order_are_refused(tmp_path):
    with delta_log.DeltaLog(tmp_path, EXPORT) as log:
        log.append([chunk(1)])
        with pytest.raises(ValueError, match="sequence 2. Received: 3"):
            log.append([chunk(3)])
        with pytest.raises(ValueError, match="chunk of export 5"):
            log.append([chunk(2, export_id=5)])


def test_bounds_that_hold_nothing_are_refused(tmp_path):
    with pytest.raises(ValueError, match="max_bytes=10"):
        delta_log.DeltaLog(tmp_path, EXPORT, max_bytes=10)
