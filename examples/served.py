"""A model server in its own process, and its client."""

from __future__ import annotations

import os
import pathlib
import sys

import numpy as np

import monolith_tf as mt
from monolith_tf import serving

MODEL = "ranker"


class Server:
    """Serves the versions in a folder until closed.

    Args:
        name: What to call it in errors, and its log.
        models: Folder with version folders.
        log_directory: Folder of the log.
        timeout_seconds: How long it may take until it answers.
    """

    def __init__(
        self,
        name: str,
        models: str | os.PathLike[str],
        log_directory: pathlib.Path,
        timeout_seconds: float = 180.0,
    ):
        """Starts the process; `wait_until_available` waits for the model."""
        self._timeout_seconds = timeout_seconds
        self._port, rest_port = mt.cluster.pick_free_ports(2)
        self.address = f"localhost:{self._port}"
        self.process = mt.cluster.ChildProcess(
            f"{name} server",
            [
                *(sys.executable, "-m", "monolith_tf", "serve"),
                f"--model_name={MODEL}",
                f"--model_base_path={models}",
                f"--port={self._port}",
                f"--rest_api_port={rest_port}",
            ],
            log_directory / f"{name}-server.log",
            {
                "TF_CPP_MIN_LOG_LEVEL": "1",
                "PYTHONUNBUFFERED": "1",
                # Imports the installed package, not a source tree in the way.
                "PYTHONSAFEPATH": "1",
            },
        )
        self._client = serving.PredictionClient(self.address)

    def wait_until_available(self) -> None:
        """Returns when the model answers.

        Raises:
            ProcessError: If the process ends, or does not answer in time.
            TimeoutError: If the model is not loaded in time.
        """
        self.process.wait_until_reachable(self._port, self._timeout_seconds)
        self._client.wait_until_available(
            MODEL, timeout_seconds=self._timeout_seconds
        )

    def score(self, features: dict[str, np.ndarray]) -> np.ndarray:
        """Returns the served predictions, float32 `[n]`."""
        reply = self._client.predict(MODEL, features)
        return reply.outputs["like"][:, 0]

    def __enter__(self) -> Server:
        """Returns itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Ends the process."""
        self._client.close()
        self.process.stop()
