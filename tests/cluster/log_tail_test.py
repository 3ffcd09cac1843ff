"""The text that a log got since the last look."""

from monolith_tf.cluster.log_tail import LogTail


def test_only_new_text_is_read(tmp_path):
    path = tmp_path / "log"
    path.write_text("old\n")
    tail = LogTail(path)
    assert tail.read() == ""
    with open(path, "a") as log:
        log.write("new\n")
    assert tail.read() == "new\n"
    assert tail.read() == ""


def test_a_file_that_comes_later_is_read_from_its_beginning(tmp_path):
    tail = LogTail(tmp_path / "log")
    assert tail.read() == ""
    (tmp_path / "log").write_bytes(b"\xff new")
    assert tail.read() == "\ufffd new"
