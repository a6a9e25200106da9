"""Limbeck distils heavy anomaly detectors, or a whole committee of them, into one small calibrated model.

>>> import limbeck
>>> limbeck.__version__
'0.1.0'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limbeck.contracts import Verdicts
    from limbeck.detector import Detector, load
    from limbeck.errors import (
        ConfigError,
        InputError,
        LimbeckError,
        LimbeckWarning,
        MissingExtraError,
        OutputError,
        PackageError,
        ParityError,
    )
    from limbeck.fitting import adapt, distil, fit, refresh
    from limbeck.tabular.adapter import as_sklearn
    from limbeck.tabular.config import CommitteeConfig, MultiTeacherConfig
    from limbeck.tabular.estimator import CommitteeDetector
    from limbeck.tabular.multi_teacher import MultiTeacherClassifier

__version__ = "0.1.0"

__all__ = [
    "CommitteeConfig",
    "CommitteeDetector",
    "ConfigError",
    "Detector",
    "InputError",
    "LimbeckError",
    "LimbeckWarning",
    "MissingExtraError",
    "MultiTeacherClassifier",
    "MultiTeacherConfig",
    "OutputError",
    "PackageError",
    "ParityError",
    "Verdicts",
    "__version__",
    "adapt",
    "as_sklearn",
    "distil",
    "fit",
    "load",
    "refresh",
]

_HOMES = {
    "CommitteeConfig": "tabular.config",
    "CommitteeDetector": "tabular.estimator",
    "Detector": "detector",
    "MultiTeacherClassifier": "tabular.multi_teacher",
    "MultiTeacherConfig": "tabular.config",
    "Verdicts": "contracts",
    "adapt": "fitting",
    "as_sklearn": "tabular.adapter",
    "distil": "fitting",
    "fit": "fitting",
    "load": "detector",
    "refresh": "fitting",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: `import limbeck` alone costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'limbeck' has no attribute {name!r}")
    if name in ("CommitteeDetector", "MultiTeacherClassifier", "as_sklearn"):
        importlib.import_module("limbeck.errors").require_training()
    home = importlib.import_module(f"limbeck.{_HOMES.get(name, 'errors')}")
    return getattr(home, name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
