"""Models that were saved load in a new process after `import monolith_tf`."""

import json
import pathlib

import pytest

import processes

PROGRAM = pathlib.Path(__file__).with_name("load_model_program.py")


def run(action, keras, first, folder):
    done = processes.run(
        [*processes.PYTHON, PROGRAM, action, keras, first, folder]
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module", params=["tf_keras", "keras"])
def saved(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, folder, run("save", request.param, "library", folder)


@pytest.mark.parametrize(
    "first", ["library", pytest.param("keras", marks=pytest.mark.soak)]
)
def test_a_saved_model_loads_and_trains_on_in_a_new_process(saved, first):
    keras, folder, models = saved
    assert set(models) == {"functional", "sequential", "Subclassed"}
    assert {model["optimizer"] for model in models.values()} == {
        "AdamWithTables"
    }
    assert run("load", keras, first, folder) == models


def test_whatever_is_used_first_registers_the_layers():
    # Each in a child of its own: what loads tf_keras for itself must not meet
    # the hook half imported.
    program = """
import os
import traceback

import monolith_tf as mt

names = [name for name in mt.__all__ if name != "keras3"]
for name in [*names, "monolith_tf.estimators"]:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            __import__(name) if "." in name else getattr(mt, name)
            import tf_keras

            find = tf_keras.saving.get_registered_object
            for known in ("DynamicEmbedding", "StringIds", "AdamWithTables"):
                assert find(f"monolith_tf>{known}") is not None, known
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0, name
print("all", len(names))
"""
    done = processes.run([*processes.PYTHON, "-c", program])
    assert done.stdout.startswith("all ")
