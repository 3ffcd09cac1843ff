"""One model: its version directories, and the loaded versions."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from monolith_tf.serving.server import errors
from monolith_tf.serving.server import servable as servable_lib

_FIRST_RETRY_SECONDS = 1.0
_MAX_RETRY_SECONDS = 30.0

_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class VersionState:
    """State of one version in the server.

    Args:
        version: Number of the version.
        state: "LOADING", "AVAILABLE", "UNLOADING" or "END".
        error_message: The error of a failed load, or "".
    """

    version: int
    state: str
    error_message: str = ""


@dataclasses.dataclass
class _FailedLoad:
    message: str
    retry_at: float
    wait_seconds: float


class Model:
    """Serves the newest version under a base path.

    A version is a directory with a numeric name and a `saved_model.pb`. The
    served version stays loaded until a newer one is ready. When the served
    version disappears, the next newest is loaded; when all disappear, the last
    one stays served.

    Args:
        name: Name of the model.
        base_path: Directory of the version directories.
        load: Loads a servable; for tests.
        clock: Returns seconds; for tests.
    """

    def __init__(
        self,
        name: str,
        base_path: str,
        load: Callable[[str, int, str], servable_lib.Servable] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Keeps the arguments; `poll` loads versions."""
        self.name = name
        self.base_path = base_path
        self._load = load or servable_lib.Servable
        self._clock = clock
        self._lock = threading.Lock()
        self._states: dict[int, VersionState] = {}
        self._loaded: dict[int, servable_lib.Servable] = {}
        self._failed: dict[int, _FailedLoad] = {}

    def poll(self) -> None:
        """Lists the directories once; loads and unloads versions.

        Call it from one thread at a time. It blocks while a version loads, and
        does not block requests.
        """
        on_disk = self._versions_on_disk()
        self._failed = {v: f for v, f in self._failed.items() if v in on_disk}
        for version in sorted(on_disk, reverse=True):
            if version in self._loaded or self._try_load(version):
                self._unload_all_but(version)
                return

    def servable(self, version: int | None = None) -> servable_lib.Servable:
        """Returns the newest loaded version, or the requested one.

        Raises:
            RequestError: NOT_FOUND, with the loaded versions.
        """
        with self._lock:
            loaded = self._loaded
        if version is not None:
            if version in loaded:
                return loaded[version]
            raise errors.not_found(
                f"Version {version} of model {self.name!r} is not loaded. "
                f"Loaded: {sorted(loaded)}."
            )
        if not loaded:
            raise errors.not_found(
                f"Model {self.name!r} has no version yet under "
                f"{self.base_path!r}."
            )
        return loaded[max(loaded)]

    def run(
        self,
        version: int | None,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        output_filter: Sequence[str] = (),
    ) -> tuple[int, dict[str, np.ndarray]]:
        """Runs a signature of the newest loaded version, or the requested one.

        Returns:
            The version that answered, and its outputs by name.

        Raises:
            RequestError: See `Servable.run`.
        """
        while True:
            servable = self.servable(version)
            try:
                return servable.version, servable.run(
                    signature_name, inputs, output_filter
                )
            except servable_lib.UnloadedError:
                # The version was unloaded between the two lines; the newer one
                # runs the call, unless the request has a version.
                if version is not None or not self.has_version:
                    raise

    @property
    def has_version(self) -> bool:
        """True if a version is loaded."""
        with self._lock:
            return bool(self._loaded)

    def states(self, version: int | None = None) -> list[VersionState]:
        """Returns the state of each version, newest first.

        Raises:
            RequestError: NOT_FOUND for an unknown version.
        """
        with self._lock:
            states = dict(self._states)
        if version is not None:
            if version not in states:
                raise errors.not_found(
                    f"Version {version} of model {self.name!r} is not known. "
                    f"Known: {sorted(states)}."
                )
            return [states[version]]
        return [states[key] for key in sorted(states, reverse=True)]

    def close(self) -> None:
        """Unloads all versions after their running calls."""
        with self._lock:
            loaded, self._loaded = self._loaded, {}
        for servable in loaded.values():
            servable.close()

    def _versions_on_disk(self) -> dict[int, str]:
        try:
            names = os.listdir(self.base_path)
        except OSError:
            return {}
        return {
            int(name): os.path.join(self.base_path, name)
            for name in names
            if name.isascii()
            and name.isdigit()
            # Requests and answers carry a version in an int64.
            and int(name) < 1 << 63
            and os.path.isfile(
                os.path.join(self.base_path, name, "saved_model.pb")
            )
        }

    def _try_load(self, version: int) -> bool:
        failed = self._failed.get(version)
        if failed is not None and self._clock() < failed.retry_at:
            return False
        self._set_state(VersionState(version, "LOADING"))
        path = self._versions_on_disk().get(version, "")
        try:
            servable = self._load(self.name, version, path)
        except Exception as error:  # A broken SavedModel raises any error.
            wait = (
                min(2 * failed.wait_seconds, _MAX_RETRY_SECONDS)
                if failed
                else _FIRST_RETRY_SECONDS
            )
            message = f"Loading {path!r} failed: {error}"
            _logger.error("%s (next attempt in %.0f s)", message, wait)
            self._failed[version] = _FailedLoad(
                message, self._clock() + wait, wait
            )
            self._set_state(VersionState(version, "END", message))
            return False
        self._failed.pop(version, None)
        with self._lock:
            # A new dict, because readers use the old one without the lock.
            self._loaded = {**self._loaded, version: servable}
            self._states[version] = VersionState(version, "AVAILABLE")
        _logger.info("Serving %s version %d", self.name, version)
        return True

    def _unload_all_but(self, kept: int) -> None:
        with self._lock:
            others = [v for v in self._loaded if v != kept]
            going = [self._loaded[v] for v in others]
            self._loaded = {kept: self._loaded[kept]}
            for version in others:
                self._states[version] = VersionState(version, "UNLOADING")
        for servable in going:
            servable.close()
            self._set_state(VersionState(servable.version, "END"))
            _logger.info("Unloaded %s version %d", self.name, servable.version)

    def _set_state(self, state: VersionState) -> None:
        with self._lock:
            self._states[state.version] = state


def find(models: Mapping[str, Model], name: str) -> Model:
    """Returns a model by name.

    Raises:
        RequestError: NOT_FOUND, with the served models.
    """
    if name not in models:
        raise errors.not_found(
            f"There is no model {name!r}. Served: {sorted(models)}."
        )
    return models[name]
