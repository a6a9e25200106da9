"""What the benchmark of compact students says of its rows."""

import compact
import pytest
from _results import append
from matplotlib.axes import Axes


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Rows of two seeds: the student loses 1 and 3 points of AUROC, and wins 2 and 4 of AUPRO."""
    monkeypatch.setattr(compact, "RESULTS", tmp_path / "compact.csv")
    monkeypatch.setattr(compact, "SPEED", tmp_path / "speed.csv")
    shared = dict.fromkeys(compact.KEYS, 0.5) | {"bytes": 1e6, "fit_seconds": 10, "agrees": ""}
    for seed, (own, lost, won) in enumerate([(0.9, 0.01, 0.02), (0.8, 0.03, 0.04)]):
        for model, auroc, aupro, macs in (("full", own, 0.7, 7e8), ("compact 0.3 G", own - lost, 0.7 + won, 3e8)):
            note = {"set": "screw", "seed": seed, "tag": "", "model": model, "precision": "fp32"}
            append(compact.RESULTS, note | shared | {"auroc": auroc, "aupro_30": aupro, "macs": macs}, "onnxruntime")
    for model, ms in (("full", 20.0), ("compact 0.3 G", 9.0), ("WideResNet-50-2", 600.0)):
        append(compact.SPEED, {"model": model, "precision": "fp32", "what": "latency", "ms": ms}, "onnxruntime")
    learning = {"model": "compact 0.3 G", "precision": "fp32", "what": "learning, all, s", "ms": 2e5}
    append(compact.SPEED, learning, "onnxruntime")


def test_points_are_lost_to_the_teacher_of_the_same_seed(measured):
    values = compact.summary()["screw", "", "compact 0.3 G", "fp32"]
    assert values["seeds"] == 2
    assert values["lost auroc"] == pytest.approx((2.0, 1.0)) and values["lost aupro_30"] == pytest.approx((-3.0, 1.0))
    assert compact.summary()["screw", "", "full", "fp32"]["lost auroc"] == (0, 0)


def test_the_tables_and_the_plot(measured, capsys, tmp_path, monkeypatch):
    compact.table()
    assert "auroc lost 2.00 (wanted 1.0)" in capsys.readouterr().out
    compact.markdown()
    assert "| screw | compact 0.3 G | fp32 | 0.30 | 1.0 | 0.830 (0.060) | 2.0 (1.0) |" in capsys.readouterr().out
    drawn = []
    errorbar = Axes.errorbar
    monkeypatch.setattr(Axes, "errorbar", lambda self, x, *a, **k: (drawn.append(x), errorbar(self, x, *a, **k))[1])
    compact.plot(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 10_000
    assert drawn == [(20.0,), (9.0,)] * 2, "latency of the teacher and of the student, for each measure"
