"""The kinds of teacher: each learns rows and labels, and then says log-odds of an anomaly for any row."""

from __future__ import annotations

import importlib
import inspect
import io
from dataclasses import dataclass
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import NDArray

from limbeck.errors import ConfigError, require
from limbeck.network import Features, Network
from limbeck.tabular.config import OWN_KINDS, MultiTeacherConfig, parse_kind
from limbeck.tabular.encode import learn_features

__all__ = ["EXTREME", "Model", "check_kind", "learn", "restore"]

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]
EXTREME = 30.0  # log-odds beyond this carry no more information, only overflow
SUREST = 1e-6  # a classifier's probabilities are kept this far from 0 and 1
NETWORK = (128, 128)  # hidden layers of an `mlp` teacher
NETWORK_RATE = 2e-3
NETWORK_STEPS, NETWORK_BATCH = 3_000, 512


class Model(Protocol):
    """A teacher that has learned."""

    def __call__(self, x: Floats) -> Floats:
        """Return log-odds (n,) of raw rows, float64 (n, d)."""
        ...

    def to_bytes(self) -> bytes | None:
        """Return what `restore` makes the same model from; None where there is no form that is safe to read."""
        ...

    @property
    def bytes(self) -> int:
        """Size of the model as a file."""
        ...


@final
@dataclass(frozen=True)
class Boosted:
    """A LightGBM model."""

    booster: Any

    def __call__(self, x: Floats) -> Floats:
        """Return log-odds (n,) of raw rows, float64 (n, d)."""
        raw = np.asarray(self.booster.predict(x, raw_score=True, num_threads=1), dtype=np.float64)
        return np.clip(raw, -EXTREME, EXTREME)

    def to_bytes(self) -> bytes:
        """Return the model as LightGBM's text."""
        text: str = self.booster.model_to_string()
        return text.encode()

    @property
    def bytes(self) -> int:
        """Size of the text."""
        return len(self.to_bytes())


@final
@dataclass(frozen=True)
class Neural:
    """A network of two wide layers."""

    network: Network

    def __call__(self, x: Floats) -> Floats:
        """Return log-odds (n,) of raw rows, float64 (n, d)."""
        return np.clip(self.network(x).astype(np.float64), -EXTREME, EXTREME)

    def to_bytes(self) -> bytes:
        """Return the tensors as an ``.npz`` file."""
        handle = io.BytesIO()
        np.savez(handle, allow_pickle=False, **self.network.tensors())
        return handle.getvalue()

    @property
    def bytes(self) -> int:
        """Size of that file."""
        return len(self.to_bytes())


@final
@dataclass(frozen=True)
class Classifier:
    """Any class with `predict_proba`; it sees numbers on one footing, without gaps, and one-hot categories."""

    classifier: Any
    features: Features

    def __call__(self, x: Floats) -> Floats:
        """Return log-odds (n,) of raw rows, float64 (n, d)."""
        p = np.asarray(self.classifier.predict_proba(self.features(x)), dtype=np.float64)[:, 1]
        p = np.clip(p, SUREST, 1 - SUREST)
        return np.asarray(np.log(p) - np.log1p(-p))

    def to_bytes(self) -> None:
        """Return None: a stranger's class has no form that could be read without running code."""

    @property
    def bytes(self) -> int:
        """Size of the pickle."""
        import pickle

        return len(pickle.dumps(self.classifier))


def check_kind(kind: str) -> None:
    """Refuse, before anything is taught, a kind whose class cannot be made.

    Raises
    ------
    ConfigError
        If the class is not there, refuses its settings, or has no `fit` and `predict_proba`.
    """
    name, settings = parse_kind(kind)
    if name in OWN_KINDS:
        return
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
        teaches = _teaches(found) and inspect.isclass(found)  # looked at before it is called
        teaches = teaches and _teaches(found(**settings))
    except (AttributeError, ImportError, TypeError, ValueError) as error:
        raise ConfigError(
            f"cannot make the teacher {kind!r}", expected="package.module.Class(setting=value)", got=str(error),
            fix="check the name and the settings, and that its package is installed",
        ) from error  # fmt: skip
    if not teaches:
        raise ConfigError(f"{name} cannot be a teacher", expected="a class with fit and predict_proba", got=repr(found))


def _teaches(found: object) -> bool:
    return callable(getattr(found, "fit", None)) and callable(getattr(found, "predict_proba", None))


def learn(
    kind: str, x: Floats, y: Labels, config: MultiTeacherConfig, *, seed: int, categorical: tuple[int, ...]
) -> Model:
    """Teach one model of a kind on rows, float64 (n, d), and labels 0 | 1, (n,)."""
    name, settings = parse_kind(kind)
    if name == "lightgbm":
        return Boosted(_boost(x, y, config, seed, categorical))
    features = learn_features(x, categorical)
    if name == "mlp":
        from limbeck.tabular.student import Lessons, train_student

        lessons = Lessons(features(x), None, y.astype(np.float32), np.zeros(len(y), np.float32))
        weights, biases, _ = train_student(
            lessons, NETWORK, steps=NETWORK_STEPS, batch=NETWORK_BATCH, rate=NETWORK_RATE, temperature=1.0, seed=seed
        )
        return Neural(Network(features, weights, biases))
    module, _, attribute = name.rpartition(".")
    made = getattr(importlib.import_module(module), attribute)
    given = {"random_state": seed} if "random_state" in inspect.signature(made).parameters else {}
    classifier = made(**{**given, **settings})
    classifier.fit(features(x), y)
    return Classifier(classifier, features)


def _boost(x: Floats, y: Labels, config: MultiTeacherConfig, seed: int, categorical: tuple[int, ...]) -> Any:
    lightgbm = require("lightgbm", "train")
    settings = {
        "objective": "binary", "verbosity": -1, "seed": seed, "deterministic": True, "force_row_wise": True,
        "num_threads": 1, "num_leaves": config.leaves, "learning_rate": config.learning_rate,
        "min_data_in_leaf": max(1, min(20, len(y) // 50)),
        "lambda_l2": 1.0, "feature_fraction": config.columns, "bagging_fraction": 0.8, "bagging_freq": 1,
        "max_cat_to_onehot": 8,
    }  # fmt: skip
    rows = lightgbm.Dataset(x, y, categorical_feature=list(categorical), free_raw_data=True)
    return lightgbm.train(settings, rows, num_boost_round=config.trees)


def restore(kind: str, saved: bytes) -> Model:
    """Make a model from what `Model.to_bytes` returned."""
    if kind == "lightgbm":
        return Boosted(require("lightgbm", "train").Booster(model_str=saved.decode()))
    with np.load(io.BytesIO(saved), allow_pickle=False) as named:
        return Neural(Network.from_tensors(named))
