"""Small data and one detector that many tests share; nothing here is slow twice."""

import subprocess
import warnings

import numpy as np
import pytest
from PIL import Image

import limbeck
from limbeck.data.transactions import transactions
from limbeck.errors import LimbeckWarning

QUICK = {"resamplers": ["none", "rus"], "folds": 2, "trees": 30, "steps": 400, "refit_below": 0, "measurements": 1}


@pytest.fixture
def run(capsys):
    """Run a command in this process: the same code, without the seconds of importing."""
    from limbeck.cli import main

    def run(*arguments):
        code = 0
        try:
            main([str(a) for a in arguments])
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, out, err)

    return run


@pytest.fixture(scope="session")
def train():
    return transactions(4000, seed=0)


@pytest.fixture(scope="session")
def test_rows():
    return transactions(3000, seed=1)


@pytest.fixture(scope="session")
def detector(train):
    """A detector of every kind of column: numbers, booleans, categories, gaps."""
    return limbeck.fit(train, label="fraud", config=QUICK, alpha=0.05)


@pytest.fixture(scope="session")
def package(detector, tmp_path_factory):
    folder = tmp_path_factory.mktemp("package") / "tx.limbeck"
    detector.save(folder)
    return folder


@pytest.fixture(scope="session")
def offset_detector():
    """A detector of plain numbers, one of them 1e9 ± 10, and no names."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 4)) * [1, 10, 1e-3, 1e6] + [0, 1e9, 0, -1e7]
    y = (rng.random(1500) < 0.05).astype(int)
    x[y == 1] += [2.5, 25, 0, 0]
    x[::17, 2] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LimbeckWarning)
        return limbeck.fit(x, label=y, config=QUICK, alpha=0.05)


# The smallest that is still a backbone with two scales: seconds to learn and to export, no weights and no network.
QUICK_PICTURES = {
    "backbone": "resnet18", "weights": "random", "taps": "layer1,layer2", "blocks": "1,1,1", "size": 64,
    "steps": 30, "batch": 8,
}  # fmt: skip


def part(seed, *, spot=0, size=(80, 96)):
    """Draw a good part, grey stripes, or one with a disc that is so much brighter; return picture and mask."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    picture = 110 + 40 * np.sin((x + 3 * rng.random()) / 3) + rng.normal(0, 4, size)
    mask = np.hypot(y - size[0] * rng.uniform(0.3, 0.7), x - size[1] * rng.uniform(0.3, 0.7)) < size[0] / 8
    picture[mask] += spot
    return picture.clip(0, 255).astype(np.uint8), mask & (spot > 0)


@pytest.fixture(scope="session")
def parts(tmp_path_factory):
    """Thirty good parts to learn from, eight good and seven bad ones to test on, with masks; nobody changes it."""
    folder = tmp_path_factory.mktemp("pictures") / "parts"
    kinds = {"train/good": (30, 0), "test/good": (8, 0), "test/disc": (4, 120), "test/faint": (3, 12)}
    for place, (kind, (count, spot)) in enumerate(kinds.items()):
        for i in range(count):
            picture, mask = part(100 * place + i, spot=spot)
            file = folder / kind / f"{i:03}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(file)
            if mask.any():
                truth = folder / "ground_truth" / file.parent.name / f"{i:03}_mask.png"
                truth.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask.astype(np.uint8) * 255).save(truth)
    return folder


@pytest.fixture(scope="session")
def picture_detector(parts):
    """A detector of pictures, learned for a moment: its numbers are no good, its promises are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LimbeckWarning)  # six calibration pictures promise little
        return limbeck.fit(parts, config=QUICK_PICTURES, seed=1)


@pytest.fixture(scope="session")
def picture_package(picture_detector, tmp_path_factory):
    folder = tmp_path_factory.mktemp("picture-package") / "parts.limbeck"
    picture_detector.save(folder)
    return folder


@pytest.fixture(scope="session")
def textures():
    """Forty pictures of soft waves, on which any defect is seen."""
    rng, (y, x) = np.random.default_rng(0), np.mgrid[:64, :64, :1][:2] / 64
    waves = [np.sin(4 * x + 3 * y + rng.uniform(0, 6.28, 3)) for _ in range(40)]
    return (128 + 25 * np.stack(waves) + rng.normal(0, 1, (40, 64, 64, 3))).astype(np.uint8)
