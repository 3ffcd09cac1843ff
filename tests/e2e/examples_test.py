"""The examples of training on parameter servers run, and learn."""

import pathlib
import re

import pytest

import processes

EXAMPLES = ("pss_fit.py", "pss_custom_loop.py")


@pytest.fixture
def launch(repository_root, tmp_path):
    def launch(name, *arguments):
        return processes.run(
            [
                *(*processes.MONOLITH_TF, "launch"),
                *("--num_ps=2", "--num_workers=1"),
                f"--log_dir={tmp_path / 'logs'}",
                *(repository_root / "examples" / name, *arguments),
            ],
            cwd=tmp_path,
        ).stdout

    return launch


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short(repository_root, name):
    text = (repository_root / "examples" / name).read_text()
    assert len(text.splitlines()) < 80


@pytest.mark.soak
def test_fit_learns_and_goes_on_where_it_was(launch, tmp_path):
    said = launch("pss_fit.py", tmp_path / "model", 4)
    assert "Epoch 1/4" in said
    said = launch("pss_fit.py", tmp_path / "model", 8)
    assert "Epoch 5/8" in said
    assert "Epoch 4/8" not in said
    assert float(re.findall(r"accuracy: ([\d.]+)", said)[-1]) > 0.9
    assert list(pathlib.Path(tmp_path, "model", "logs").glob("events.*"))
    exports = list(pathlib.Path(tmp_path, "model", "export").iterdir())
    assert len(exports) == 2


def test_a_custom_loop_learns(launch, tmp_path):
    said = launch("pss_custom_loop.py", tmp_path / "model", "--rounds=4")
    losses = re.findall(r"round (\d+): loss ([\d.]+)", said)
    assert [number for number, _ in losses] == ["1", "2", "3", "4"]
    assert float(losses[-1][1]) < 0.1
    assert "applied=(400, 400), repeated=(0, 0)" in said


@pytest.mark.soak
def test_a_custom_loop_goes_on_where_it_was(launch, tmp_path):
    said = launch("pss_custom_loop.py", tmp_path / "model", "--rounds=2")
    assert re.findall(r"round (\d+)", said) == ["1", "2"]
    said = launch("pss_custom_loop.py", tmp_path / "model", "--rounds=4")
    assert re.findall(r"round (\d+): loss", said) == ["3", "4"]
    assert "applied=(200, 200), repeated=(0, 0)" in said
