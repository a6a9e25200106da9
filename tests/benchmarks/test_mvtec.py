"""The script that repeats the paper's table, on a folder laid out as MVTec AD is."""

import csv
import re

import mvtec
import pytest

QUICK = (
    *("--set", "backbone=resnet18"), *("--set", "weights=random"), *("--set", "size=64"), *("--set", "steps=2"),
    *("--set", "batch=4"),
)  # fmt: skip


@pytest.fixture
def data(parts, tmp_path):
    """Two categories, and the files that lie beside them in the archive."""
    folder = tmp_path / "mvtec_anomaly_detection"
    folder.mkdir()
    for name in ("bottle", "screw"):
        (folder / name).symlink_to(parts)
    (folder / "readme.txt").write_text("MVTec AD")
    return folder


def test_each_category_and_the_means_stand_beside_the_published_ones(data, tmp_path, capsys):
    out = tmp_path / "table.csv"
    mvtec.main([str(data), "--out", str(out), *QUICK])
    with out.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["category"] for row in rows] == ["bottle", "screw"]
    assert rows[0]["auroc"] == rows[1]["auroc"]  # the same pictures and the same seed
    assert all(0 <= float(row[key]) <= 1 for row in rows for key in mvtec.KEYS)
    table = capsys.readouterr().out.splitlines()
    assert re.split(" +", table[-2])[:2] == ["mean", f"{float(rows[0]['auroc']):.3f}"]
    assert re.split(" +", table[-1]) == ["published", "0.985", "0.978", "0.939"]


def test_a_category_that_is_there_is_not_learned_again(data, tmp_path, monkeypatch, capsys):
    out = tmp_path / "table.csv"
    mvtec.main([str(data), "--out", str(out), "--categories", "screw", *QUICK])
    monkeypatch.setattr(mvtec, "measure", lambda *_, **__: pytest.fail("learned again"))
    mvtec.main([str(data), "--out", str(out), "--categories", "screw", *QUICK])
    assert len(out.read_text().splitlines()) == 2
    assert "bottle" not in capsys.readouterr().out


def test_the_other_paper(data, tmp_path, capsys):
    arguments = ("--categories", "screw", "--method", "residual-attention", *QUICK)
    mvtec.main([str(data), "--out", str(tmp_path / "table.csv"), *arguments])
    assert re.split(" +", capsys.readouterr().out.splitlines()[-1]) == ["published", "0.967", "0.979", ""]
    config = mvtec.recipe("residual-attention", 320, {}, default=False)
    assert (config.backbone, config.steps, config.batch, config.optimiser) == ("vgg16", 200 * 8, 32, "sgd")
    assert (config.rate, config.decay, config.schedule, config.held_out) == (0.4, 1e-4, "constant", 0.2)
    assert (config.attention, config.student, config.keep, config.taps) == ("residual", "same", "best", ())


def test_the_paper_recipe():
    config = mvtec.recipe("reverse-distillation", 320, {}, default=False)
    assert (config.backbone, config.steps, config.batch, config.rate) == ("wide_resnet50_2", 4000, 16, 0.005)
    assert (config.footing, config.schedule, config.held_out, config.decay) == ("none", "constant", 0.0, 0.0)
    odd = mvtec.recipe("reverse-distillation", 209, {}, default=False)
    assert odd.steps == 200 * 13, "13 batches and one picture over"
    assert mvtec.recipe("reverse-distillation", 320, {}, default=True).backbone == "efficientnet-lite0"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--categories", "shoe"), "no category shoe"),
        (("--set", "backbone=resnet18", "--weights", "gone.pth"), "gone.pth"),
        (("--set", "colour=red"), "colour"),
    ],
)
def test_mistakes_end_with_one_clear_error(data, tmp_path, arguments, said):
    with pytest.raises(SystemExit, match=said) as stop:
        mvtec.main([str(data), "--out", str(tmp_path / "t.csv"), *arguments])
    assert "Traceback" not in str(stop.value)
    assert not (tmp_path / "t.csv").exists()


def test_an_empty_folder(tmp_path):
    with pytest.raises(SystemExit, match="no categories"):
        mvtec.main([str(tmp_path)])
