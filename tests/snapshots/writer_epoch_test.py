"""Epochs of writers: one writer per directory, the latest."""

import pytest

from monolith_tf.errors import FencedError
from monolith_tf.snapshots import writer_epoch
from monolith_tf.snapshots.writer_epoch import WriterEpoch
from processes import PYTHON
from processes import run

TAKE = """
import sys
from monolith_tf.snapshots.writer_epoch import WriterEpoch
print(WriterEpoch(sys.argv[1]).number)
"""


@pytest.fixture
def be_another_process(monkeypatch):
    """Gives the process the number of another writer."""

    def change(number):
        monkeypatch.setattr(writer_epoch, "WRITER", number)

    return change


def test_each_process_takes_the_next_number_and_fences_the_one_before(
    tmp_path, be_another_process
):
    be_another_process(1)
    first = WriterEpoch(tmp_path)
    first.check()
    be_another_process(2)
    second = WriterEpoch(tmp_path)
    assert (first.number, second.number) == (1, 2)
    second.check()
    be_another_process(1)
    with pytest.raises(
        FencedError, match="writer of epoch 2. Expected epoch 1"
    ):
        first.check()
    assert [path.name for path in tmp_path.iterdir()] == ["EPOCH-00000002"]


def test_a_process_keeps_its_number(tmp_path):
    assert WriterEpoch(tmp_path).number == 1
    again = WriterEpoch(tmp_path)
    assert again.number == 1
    again.check()


@pytest.mark.e2e
def test_another_process_takes_a_number_of_its_own(tmp_path):
    mine = WriterEpoch(tmp_path)
    done = run([*PYTHON, "-c", TAKE, tmp_path])
    assert done.stdout.split() == ["2"]
    with pytest.raises(FencedError):
        mine.check()


def test_the_number_goes_to_one_of_two_that_take_it_at_once(
    tmp_path, be_another_process, monkeypatch
):
    be_another_process(1)
    create = WriterEpoch._create

    def lose(self):
        monkeypatch.setattr(WriterEpoch, "_create", create)
        be_another_process(2)
        assert WriterEpoch(tmp_path).number == 1
        be_another_process(1)
        return create(self)

    monkeypatch.setattr(WriterEpoch, "_create", lose)
    assert WriterEpoch(tmp_path).number == 2


def test_a_file_that_was_overwritten_fences_too(tmp_path):
    epoch = WriterEpoch(tmp_path)
    (tmp_path / "EPOCH-00000001").write_text("0000000000000007\n")
    with pytest.raises(FencedError, match="epoch 1"):
        epoch.check()


def test_a_directory_that_lost_its_epoch_is_nobodys(tmp_path):
    epoch = WriterEpoch(tmp_path)
    (tmp_path / "EPOCH-00000001").unlink()
    with pytest.raises(FencedError, match="epoch 0"):
        epoch.check()


def test_other_file_systems_of_tensorflow_keep_epochs(be_another_process):
    directory = "ram://writer_epochs"
    be_another_process(1)
    first = WriterEpoch(directory)
    be_another_process(2)
    assert WriterEpoch(directory).number == first.number + 1
    be_another_process(1)
    with pytest.raises(FencedError):
        first.check()
