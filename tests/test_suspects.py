"""The suspicion list: made of the finished model, the same numbers as it scores, for people and for programs."""

import dataclasses
import json
import warnings

import numpy as np
import polars as pl
import pytest

import limbeck
from limbeck.calibrate import outlier_cut
from limbeck.checks import check_detector
from limbeck.data.contaminate import contaminate
from limbeck.data.images import PictureItems
from limbeck.data.layouts import find_pictures
from limbeck.errors import InputError, LimbeckWarning, OutputError
from limbeck.report import report
from limbeck.suspects import suspects, write_suspects

QUICK = {
    "backbone": "resnet18", "weights": "random", "taps": "layer1", "blocks": "1,1", "size": 64, "steps": 24,
    "batch": 4, "domains": 2, "divisions": 1, "shown": 5,
}  # fmt: skip


@pytest.fixture(scope="module")
def dirty(parts, tmp_path_factory):
    """Thirty good parts and four bad ones among them, nobody knows which."""
    folder = tmp_path_factory.mktemp("dirty") / "set"
    contaminate(parts, folder, ratio=0.14)
    return folder


@pytest.fixture(scope="module")
def detector(dirty):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LimbeckWarning)
        return limbeck.fit(dirty, method="cross-domain", config=QUICK, alpha=0.2)


def test_the_list_is_every_training_picture_as_the_detector_scores_it(detector, dirty):
    frame = suspects(detector)
    assert frame.columns == ["rank", "id", "score", "suspected", "rare", "calibration"]
    pictures = find_pictures(dirty).training()
    (batch,) = PictureItems(detector.spec, pictures).batches(100)
    wanted = dict(zip(batch.id, detector.scorer(batch.x).score.tolist(), strict=True))
    assert frame["rank"].to_list() == [*range(1, len(pictures) + 1)] and set(frame["id"]) == set(wanted)
    np.testing.assert_allclose(frame["score"], [wanted[id] for id in frame["id"]], rtol=1e-4)
    assert frame["rare"].is_sorted(descending=True), "they come first"
    for part in frame.partition_by("rare"):
        assert part["score"].is_sorted(descending=True)
    assert frame["calibration"].sum() == len(pictures) // 5


def test_whom_learning_took_for_anomalies_comes_first(detector, dirty):
    """The ids are those of the pictures that were learned from, not places in some order."""
    rare = set(detector.artefact.training["rare"])
    frame = suspects(detector)
    assert rare and set(frame.filter("rare")["id"]) == rare and len(rare) < len(frame) / 2
    assert not frame.filter("rare")["calibration"].any()
    assert detector.artefact.training["domains"][-1]["suspects"] == len(rare)
    assert f"and first the {len(rare)} that have something that hardly any other" in " ".join(detector.card.notes)


def test_a_list_of_an_earlier_version_has_nobody_rare(detector):
    training = dict(detector.artefact.training)
    rows = [{k: v for k, v in row.items() if k != "rare"} for row in training["suspects"]["pictures"]]
    training["suspects"] = training["suspects"] | {"pictures": rows}
    artefact = dataclasses.replace(detector.artefact, training=training)
    assert not suspects(dataclasses.replace(detector, artefact=artefact))["rare"].any()


def test_who_scores_like_an_anomaly_is_suspected_and_does_not_calibrate(detector):
    frame, held = suspects(detector), detector.artefact.training["suspects"]
    aside = frame.filter("calibration")
    assert held["cut"] == pytest.approx(outlier_cut(aside["score"].to_numpy()), rel=1e-5)
    assert (frame["suspected"] == (frame["score"] > held["cut"])).all()
    usual = aside.filter(~pl.col("suspected"))["score"].sort().to_numpy()
    np.testing.assert_allclose(detector.calibrator.normals, usual, rtol=1e-5)
    notes = " ".join(detector.card.notes)
    assert f"{frame['suspected'].sum()} of {len(frame)} training pictures look anomalous" in notes


def test_a_dirty_calibration_set_does_not_raise_the_threshold():
    normals, anomalies = np.random.default_rng(0).normal(5, 1, 180), np.full(20, 30.0)
    assert outlier_cut(normals) == pytest.approx(8, abs=0.5)
    assert outlier_cut(np.r_[normals, anomalies]) == pytest.approx(8.4, abs=0.6)
    assert outlier_cut([2.0, 2.0]) == 2.0 and outlier_cut([1.0]) == 1.0
    skewed = np.random.default_rng(0).lognormal(0, 0.5, 10_000)
    assert (skewed > outlier_cut(skewed)).mean() < 0.03


def test_it_survives_the_package_and_passes_the_battery(detector, dirty, tmp_path):
    detector.save(tmp_path / "x.limbeck")
    again = limbeck.load(tmp_path / "x.limbeck")
    assert suspects(again).equals(suspects(detector))
    check_detector(again, again.pictures(dirty / "test/good"))


def test_the_report_shows_the_first_ones(detector, tmp_path):
    report(detector, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "Training pictures that look anomalous" in page and page.count("data:image/jpeg") == 2 * QUICK["shown"]
    first = suspects(detector)["id"][0]
    assert "<strong>1" in page and first in page


def test_the_report_of_other_methods_has_no_such_part(picture_detector, tmp_path):
    report(picture_detector, tmp_path / "r.html")
    assert "look anomalous" not in (tmp_path / "r.html").read_text("utf-8")


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_the_command(detector, tmp_path, run, suffix):
    detector.save(tmp_path / "x.limbeck")
    out = tmp_path / f"list.{suffix}"
    said = run("suspects", tmp_path / "x.limbeck", "--out", out, "--top", 3)
    assert said.returncode == 0, said.stderr
    frame = suspects(detector)
    assert f"{frame['suspected'].sum()} of {len(frame)} training pictures look anomalous" in said.stdout
    assert f"{frame['rare'].sum()} have something that hardly any other picture has, and come first" in said.stdout
    assert all(id in said.stdout for id in frame["id"][:3]) and frame["id"][3] not in said.stdout
    read = {"csv": pl.read_csv, "parquet": pl.read_parquet, "jsonl": pl.read_ndjson}[suffix](out)
    assert read.columns == frame.columns and read["id"].to_list() == frame["id"].to_list()
    told = run("suspects", tmp_path / "x.limbeck", "--top", 2, "--json")
    assert [row["id"] for row in json.loads(told.stdout)] == frame["id"][:2].to_list()
    again = run("suspects", tmp_path / "x.limbeck", "--out", out)
    assert again.returncode == 1 and "--overwrite" in again.stderr


def test_what_is_refused(detector, picture_detector, tmp_path):
    with pytest.raises(InputError, match="(?s)no suspicion list.*cross-domain"):
        suspects(picture_detector)
    with pytest.raises(OutputError, match="xlsx"):
        write_suspects(detector, tmp_path / "list.xlsx")
    assert not any(tmp_path.iterdir())
