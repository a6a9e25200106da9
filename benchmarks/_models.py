"""What the benchmarks ask of any model: calibrate it as a package is calibrated, and measure it on the test rows."""

from __future__ import annotations

import threading
import time
from typing import Any

import lightgbm
import numpy as np
import psutil

from limbeck import metrics
from limbeck.calibrate import fit_affine, sigmoid


def measure(y: np.ndarray, score: np.ndarray, alarms: float, probability: np.ndarray | None) -> dict[str, object]:
    """Return the row's figures."""
    row: dict[str, object] = {
        "average_precision": metrics.average_precision(y, score),
        "auroc": metrics.auroc(y, score),
        "recall_at_1pct_fpr": metrics.recall_at_fpr(y, score, 0.01),
        "false_alarm_rate": alarms,
        "brier": "",
        "ece": "",
        "ece_floor": "",
    }
    if probability is not None:
        row |= {
            "brier": metrics.brier(y, probability),
            "ece": metrics.ece(y, probability),
            "ece_floor": metrics.ece_floor(probability),
        }
    return row


def judged(calibration: np.ndarray, y_aside: np.ndarray, score: np.ndarray, y: np.ndarray) -> dict[str, object]:
    """Calibrate a model as the package is calibrated, and measure it on the test rows."""
    normals = np.sort(calibration[y_aside == 0])
    place = len(normals) - int(0.01 * (len(normals) + 1))
    alarms = float((score[y == 0] > normals[min(place, len(normals) - 1)]).mean())
    return measure(y, score, alarms, sigmoid(fit_affine(calibration, y_aside, spread=3.0)(score)))


def lightgbm_alone(x: np.ndarray, y: np.ndarray, categorical: tuple[int, ...], seed: int) -> tuple[Any, float]:
    """Fit one plain LightGBM; return it, and how many seconds it took."""
    start = time.perf_counter()
    settings = {"objective": "binary", "verbosity": -1, "seed": seed, "learning_rate": 0.05, "num_leaves": 31,
                "feature_fraction": 0.8, "bagging_fraction": 0.8, "bagging_freq": 1, "lambda_l2": 1.0}  # fmt: skip
    data = lightgbm.Dataset(x, y, categorical_feature=list(categorical))
    booster = lightgbm.train(settings, data, num_boost_round=300)
    return booster, time.perf_counter() - start


class PeakMemory:
    """Watches how much memory this process and its children hold together, pages that they share counted once."""

    def __enter__(self) -> PeakMemory:
        self.mebibytes = 0.0
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._watcher.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._over.wait(1.0):
            held = 0
            for process in [me, *me.children(recursive=True)]:
                try:
                    held += process.memory_full_info().pss
                except psutil.Error:  # it has just ended
                    continue
            self.mebibytes = max(self.mebibytes, held / 2**20)
