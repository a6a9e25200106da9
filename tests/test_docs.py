"""What the docs say of pictures in Python runs as it is printed."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DOCS = Path(__file__).parents[1] / "docs"


def blocks(page, word):
    """Return the Python blocks of a page in which a word occurs."""
    found = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)
    return [block for block in found if word in block]


def test_a_map_at_the_pictures_own_size(picture_detector, picture_package, tmp_path, monkeypatch):
    picture = np.random.default_rng(0).integers(0, 60, (150, 210), np.uint8)
    picture[30:60, 120:150] += 150
    Image.fromarray(picture).save(tmp_path / "new.png")
    shutil.copytree(picture_package, tmp_path / "parts.limbeck")
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("pictures.md", "resize_map")
    names = {}
    exec(code, names)
    small = picture_detector.detect(picture).map[0]
    assert small.shape == (64, 64)
    assert names["scores"].shape == (150, 210) and names["scores"].dtype == np.float32
    there = np.unravel_index(names["scores"].argmax(), (150, 210))
    wanted = np.unravel_index(small.argmax(), (64, 64))
    assert np.allclose((np.array(there) + 0.5) * [64 / 150, 64 / 210], np.array(wanted) + 0.5, atol=1)
    with Image.open("heat.png") as shown:
        assert shown.size == (210, 150)


@pytest.mark.filterwarnings("ignore::limbeck.LimbeckWarning")  # so few calibration pictures promise little
def test_one_class_against_the_rest(monkeypatch, capsys):
    import limbeck

    (code,) = blocks("reverse-distillation.md", "load_digits")
    fit = limbeck.fit
    quick = {"backbone": "resnet18", "weights": "random", "taps": "layer1", "blocks": "1,1", "size": 32, "steps": 2}

    def fit_quickly(x, config):
        return fit(x, config={**config, **quick, "footing": "quantile"})

    monkeypatch.setattr(limbeck, "fit", fit_quickly)
    names = {}
    exec(code, names)
    assert names["detector"].artefact.config["score"] == "mean"
    assert len(names["learned"]) == 92 and len(names["found"].label) == 1797 - 92
    assert (names["found"].label == 0).sum() == 91
    assert 0 <= float(capsys.readouterr().out) <= 1
