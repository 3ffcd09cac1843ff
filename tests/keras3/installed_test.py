"""When mt.keras3 can't be used, it says why; nothing else needs Keras 3."""

import os
import types

import keras
import pytest

import processes
from monolith_tf.keras3 import installed


def run(program, tmp_path, **environment):
    return processes.run(
        [*processes.PYTHON, "-c", program],
        code=None,
        cwd=tmp_path,
        env={**os.environ, **environment},
    )


def test_keras_3_on_tensorflow_is_what_is_required():
    assert installed.require(keras) is keras


def test_a_keras_of_two_digits_is_new_enough():
    newer = types.SimpleNamespace(__version__="10.0", config=keras.config)
    assert installed.require(newer) is newer


@pytest.mark.parametrize("version", ["2.15.0", "unknown"])
def test_an_older_keras_is_refused(version):
    old = types.SimpleNamespace(__version__=version)
    with pytest.raises(
        ImportError, match=f"needs Keras 3.*{version}.*tf_keras"
    ):
        installed.require(old)


def test_another_backend_is_refused():
    other = types.SimpleNamespace(
        __version__="3.1.0",
        config=types.SimpleNamespace(backend=lambda: "jax"),
    )
    with pytest.raises(
        ImportError, match="backend is 'jax'. Set KERAS_BACKEND=tensorflow"
    ):
        installed.require(other)


@pytest.mark.e2e
def test_a_backend_of_the_environment_is_refused_and_the_rest_works(tmp_path):
    done = run(
        "import monolith_tf as mt\n"
        "mt.layers.DynamicEmbedding(mt.TableConfig('movie', dim=2))\n"
        "try:\n"
        "    mt.keras3\n"
        "except ImportError as error:\n"
        "    print('REFUSED', error)\n",
        tmp_path,
        KERAS_BACKEND="jax",
    )
    assert "REFUSED mt.keras3 needs the TensorFlow backend" in done.stdout, (
        done.stdout + done.stderr
    )


@pytest.mark.e2e
def test_the_library_without_keras_3_says_so_when_it_is_asked_for(tmp_path):
    done = run(
        "import sys\n"
        "import tensorflow as tf\n"
        "sys.modules['keras'] = None\n"
        "import monolith_tf as mt\n"
        "mt.layers.DynamicEmbedding(mt.TableConfig('movie', dim=2))\n"
        "mt.optimizers.with_tables('adam')\n"
        "try:\n"
        "    mt.keras3\n"
        "except ImportError as error:\n"
        "    print('REFUSED', error)\n",
        tmp_path,
        TF_USE_LEGACY_KERAS="1",
    )
    assert "REFUSED mt.keras3 needs Keras 3" in done.stdout, (
        done.stdout + done.stderr
    )


@pytest.mark.e2e
@pytest.mark.parametrize(
    "legacy", ["1", pytest.param("0", marks=pytest.mark.soak)]
)
def test_both_keras_train_in_one_process(tmp_path, legacy):
    done = run(
        "import keras, tf_keras\n"
        "import numpy as np\n"
        "import monolith_tf as mt\n"
        "for package, layers, with_tables in (\n"
        "    (keras, mt.keras3, mt.keras3.with_tables),\n"
        "    (tf_keras, mt.layers, mt.optimizers.with_tables),\n"
        "):\n"
        "    with mt.TableSet():\n"
        "        layer = layers.DynamicEmbedding(mt.TableConfig('movie', 2))\n"
        "    model = package.Sequential(\n"
        "        [package.Input([], dtype='int64'), layer])\n"
        "    model.compile(with_tables('adam'), 'mse')\n"
        "    model.fit(np.arange(8), np.zeros([8, 2]), verbose=0)\n"
        "    print('ROWS', layer.table.size())\n",
        tmp_path,
        TF_USE_LEGACY_KERAS=legacy,
    )
    assert done.stdout.count("ROWS 8") == 2, done.stdout + done.stderr
