"""The reader of the ADBench archive, on one that is made up."""

import io
import zipfile

import _data
import numpy as np
import pytest


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Four sets of different types, labels as a column in one of them."""
    rng = np.random.default_rng(0)
    sets = {
        "Classical/38_thyroid": (rng.normal(size=(60, 3)), (np.arange(60) % 6 == 0).astype(np.int64)),
        "Classical/4_breastw": (rng.integers(0, 9, (30, 2), np.uint8), np.ones((30, 1), np.int32)),
        "Classical/15_Hepatitis": (rng.normal(size=(20, 2)), np.zeros(20, np.int32)),
        "CV_by_ResNet18/MVTec-AD_metal_nut": (rng.normal(size=(20, 5)).astype(np.float32), np.zeros(20, np.int64)),
    }
    (tmp_path / "tabular").mkdir()
    with zipfile.ZipFile(tmp_path / "tabular" / "adbench_small.zip", "w") as archive:
        archive.writestr("adbench/LICENSE", "BSD")
        for name, (x, y) in sets.items():
            file = io.BytesIO()
            np.savez(file, X=x, y=y)
            archive.writestr(f"adbench/{name}.npz", file.getvalue())
    monkeypatch.setattr(_data, "FOLDER", tmp_path)
    return sets


def test_sets_have_the_names_of_their_files_classical_ones_first(archive):
    assert list(_data.adbench_sets()) == ["breastw", "Hepatitis", "thyroid", "MVTec metal_nut"]
    assert _data.adbench_sets()["MVTec metal_nut"] == "adbench/CV_by_ResNet18/MVTec-AD_metal_nut.npz"


def test_whatever_the_file_holds_rows_are_float64_and_labels_a_flat_int8(archive):
    x, y = _data.adbench("breastw")
    assert (x.dtype, y.dtype, y.shape) == (np.float64, np.int8, (30,))
    np.testing.assert_array_equal(x, archive["Classical/4_breastw"][0])
    assert _data.adbench("MVTec metal_nut")[0].shape == (20, 5)


def test_the_splits_with_labels_read_the_same_archive(archive):
    (split,) = _data.splits("thyroid", 0)
    x, y = archive["Classical/38_thyroid"]
    assert (len(split.train), len(split.test)) == (48, 12)
    assert split.train["label"].sum() + split.test["label"].sum() == y.sum()
    seen = np.concatenate([split.train.drop("label").to_numpy(), split.test.drop("label").to_numpy()])
    np.testing.assert_array_equal(seen[np.lexsort(seen.T)], x[np.lexsort(x.T)])
