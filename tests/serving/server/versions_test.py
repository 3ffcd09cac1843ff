"""Version directories: hot reload without a failed call."""

import pathlib
import shutil
import threading

import numpy as np
import pytest

from monolith_tf.serving.client import ServingCallError
from processes import DEADLINE_SECONDS
from processes import wait_until


def inputs():
    return {"ids": np.array([1]), "weights": np.zeros((1, 2), np.float32)}


def served(server):
    return server.client.predict("scale", inputs()).version


def test_the_newest_numeric_version_is_served(write_model, serve):
    write_model(9, factor=1)
    path = write_model(10, factor=2)
    pathlib.Path(path, ".tmp-11-x").mkdir()
    pathlib.Path(path, "latest").mkdir()
    pathlib.Path(path, "12").mkdir()  # no saved_model.pb yet
    assert served(serve(path)) == 10


def test_versions_to_the_end_of_int64_are_served_and_others_left_alone(
    write_model, serve
):
    for version in (2**31, 2**63 - 1, 2**63, 10**20):
        path = write_model(version, factor=1)
    assert served(serve(path)) == 2**63 - 1


def test_a_new_version_takes_over_without_a_failed_call(write_model, serve):
    server = serve(write_model(1, factor=1))
    failures, versions = [], set()
    done = threading.Event()

    def call():
        while not done.is_set():
            try:
                versions.add(served(server))
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    write_model(2, factor=2)
    wait_until(lambda: 2 in versions)
    wait_until(lambda: server.client.status("scale", 1)[0].state == "END")
    done.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert versions == {1, 2}


def test_an_unloaded_version_can_no_longer_be_named(write_model, serve):
    server = serve(write_model(1, factor=1))
    server.client.predict("scale", inputs(), version=1)
    write_model(2, factor=2)
    server.client.wait_until_available("scale", 2, DEADLINE_SECONDS)
    wait_until(lambda: server.client.status("scale", 1)[0].state == "END")
    with pytest.raises(ServingCallError, match=r"Loaded: \[2\]"):
        server.client.predict("scale", inputs(), version=1)


def test_a_broken_version_leaves_the_old_one_and_says_why(write_model, serve):
    server = serve(write_model(1, factor=1))
    path = write_model(2, factor=2)
    wait_until(lambda: served(server) == 2)
    broken = pathlib.Path(path, "3")
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"not a saved model")
    wait_until(lambda: server.client.status("scale")[0].version == 3)
    wait_until(lambda: server.client.status("scale", 3)[0].error_message)
    assert server.client.status("scale", 3)[0].state == "END"
    assert served(server) == 2


def test_when_the_newest_disappears_the_one_before_is_loaded(
    write_model, serve
):
    write_model(1, factor=1)
    path = write_model(2, factor=2)
    server = serve(path)
    shutil.rmtree(pathlib.Path(path, "2"))
    wait_until(lambda: served(server) == 1)


def test_when_all_disappear_the_last_one_is_served_on(write_model, serve):
    path = write_model(1, factor=1)
    server = serve(path)
    shutil.rmtree(path)
    pathlib.Path(path).mkdir()
    write_model(3, factor=3)
    wait_until(lambda: served(server) == 3)


def test_a_model_without_a_version_is_waited_for(write_model, serve, tmp_path):
    server = serve(str(tmp_path / "scale"))
    with pytest.raises(ServingCallError, match="has no version yet"):
        served(server)
    write_model(1, factor=1)
    server.client.wait_until_available("scale", None, DEADLINE_SECONDS)
    assert served(server) == 1
