"""The public door, the import directions, and no learning framework at scoring time."""

import subprocess
import sys

import pytest
from importlinter import cli as import_linter

import limbeck
import limbeck.errors

PUBLIC = [
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
HEAVY = {"torch", "sklearn", "lightgbm", "imblearn", "numba", "onnx", "scipy", "matplotlib", "pandas"}


def loaded_after(code):
    """Return the top-level modules that some code loads in a fresh process."""
    code += "\nimport sys; print(*{m.split('.')[0] for m in sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split("\n")[-2].split())


def test_public_names_are_this_list():
    assert limbeck.__all__ == PUBLIC == sorted(PUBLIC)
    assert all(getattr(limbeck, name) is not None for name in PUBLIC)
    assert dir(limbeck) == PUBLIC
    with pytest.raises(AttributeError, match="nothing"):
        limbeck.nothing  # noqa: B018


def test_import_costs_nothing():
    assert not (HEAVY | {"numpy", "polars", "onnxruntime", "pydantic"}) & loaded_after("import limbeck")


def test_scoring_imports_no_learning_framework(package, tmp_path, test_rows):
    test_rows.write_parquet(tmp_path / "rows.parquet")
    for runtime in ("numpy", "onnx"):
        code = f"""
import limbeck, limbeck.detector
detector = limbeck.load({str(package)!r}, {runtime!r})
detector.detect({str(tmp_path / "rows.parquet")!r})
from limbeck.batch import score
from limbeck.evaluate import evaluate
from limbeck.checks import check_detector
score(detector, {str(tmp_path / "rows.parquet")!r}, {str(tmp_path / "s.parquet")!r}, overwrite=True)
evaluate(detector, {str(tmp_path / "rows.parquet")!r})
detector.save({str(tmp_path)!r} + "/{runtime}.limbeck")
"""
        assert not HEAVY & loaded_after(code)


def test_configuration_is_readable_without_torch():
    code = "from limbeck.methods import METHODS; from limbeck.config import config_class\n"
    code += "[config_class(m.config)() for m in METHODS.values()]"
    assert not (HEAVY | {"numpy"}) & loaded_after(code)


def test_imports_point_down_only(monkeypatch):
    assert import_linter.lint_imports(no_cache=True) == 0


def test_an_absent_extra_prints_its_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(limbeck.MissingExtraError, match=r"pip install 'limbeck\[report\]'"):
        limbeck.errors.require("jinja2", "report")
