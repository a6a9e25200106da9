"""How good is reverse distillation beside a nearest-neighbour memory of the same features? Four sets, three seeds.

The default teacher at 256 pixels. The memory is a plain one, as in PatchCore: the teacher's
features, pooled over 3 x 3 places, brought to the finest scale and laid beside each other; a random 10,000 of those of
the training pictures are kept, and a place scores as far as its nearest. Its threshold comes from the same calibration
pictures.

    python benchmarks/pictures.py [--sets screw] [--seeds 0 1 2] [--set FIELD=VALUE ... --tag NAME]
"""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _data import PICTURE_SETS, PictureSplit, picture_split
from _grid import go_through
from _models import PeakMemory
from _results import append, held, read
from torch.nn import functional as F

import limbeck
from limbeck import metrics
from limbeck.calibrate import Calibrator
from limbeck.data.images import PictureItems, decode_mask
from limbeck.data.layouts import find_pictures
from limbeck.evaluate import evaluate
from limbeck.fitting import configure
from limbeck.fitting.pictures import prepare_pictures
from limbeck.image.maps import AnomalyMap
from limbeck.image.teacher import Teacher
from limbeck.pixel_metrics import pixel_metrics

RESULTS = Path(__file__).with_suffix(".csv")
KEPT = 10_000
STUDENT, MEMORY = "reverse distillation", "memory of 10,000 places"
ALPHA = 0.05  # 1 % needs more calibration pictures than the smaller sets have
KEYS = ("auroc", "average_precision", "f1_max", "f1_at_threshold", "false_alarm_rate", "alpha", "pixel_auroc",
        "pixel_average_precision", "aupro_30")  # fmt: skip


class Memory:
    """The baseline: features of good pictures, and the distance to the nearest of them."""

    def __init__(self, teacher: Teacher, size: int, seed: int) -> None:
        self.teacher, self.size, self.seed = teacher, size, seed
        self.bank = torch.empty(0)

    def embed(self, pictures: np.ndarray) -> torch.Tensor:
        """Return one vector a place, (n, h, w, channels), of uint8 pictures (n, h, w, 3)."""
        with torch.inference_mode():
            features = [F.avg_pool2d(f, 3, 1, 1) for f in self.teacher(torch.from_numpy(pictures))]
            size = features[0].shape[2:]
            same = [F.interpolate(f, size, mode="bilinear", align_corners=False) for f in features]
            return torch.cat(same, 1).permute(0, 2, 3, 1)

    def learn(self, items: Any) -> None:
        """Keep a random part of all places."""
        parts = []
        generator = torch.Generator().manual_seed(self.seed)
        share = KEPT * 1.2 / len(items)
        for batch in items.batches(16):
            places = self.embed(batch.x).flatten(0, 2)
            count = min(len(places), int(np.ceil(share * len(batch.x))))
            parts.append(places[torch.randperm(len(places), generator=generator)[:count]])
        bank = torch.cat(parts)
        self.bank = bank[torch.randperm(len(bank), generator=generator)[:KEPT]]

    def score(self, items: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the maximum of each map, and the maps."""
        maps = []
        for batch in items.batches(8):
            places = self.embed(batch.x)  # (n, h, w, channels)
            n, h, w, _ = places.shape
            near = torch.cat([torch.cdist(p, self.bank).amin(1) for p in torch.split(places.flatten(0, 2), 4096)])
            whole = AnomalyMap([(h, w)], self.size, self.size, sigma=4.0)
            maps.append(whole.scale(near.view(n, h, w), 0).numpy())
        drawn = np.concatenate(maps)
        return drawn.reshape(len(drawn), -1).max(1), drawn


def row_of(values: dict[str, float]) -> dict[str, object]:
    """Return the figures that are written down."""
    return {key: values.get(key, "") for key in KEYS}


def run(name: str, seed: int, fields: Mapping[str, Any], tag: str) -> None:
    """Measure what is missing of one set with one seed."""
    config = configure("reverse-distillation", dict(fields))
    note = {"set": name, "seed": seed, "tag": tag}
    with tempfile.TemporaryDirectory() as place:
        split = picture_split(name, seed, Path(place))
        if not held(RESULTS, **note, model=STUDENT):
            student(split, config, seed, note)
        if not tag and not held(RESULTS, **note, model=MEMORY):
            memory(split, config, seed, note)


def student(split: PictureSplit, config: Any, seed: int, note: dict[str, Any]) -> None:
    """Measure reverse distillation."""
    with warnings.catch_warnings(), PeakMemory() as peak:
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        detector = limbeck.fit(split.train, config=config, alpha=ALPHA, seed=seed)
        seconds = time.perf_counter() - start
    evaluation = evaluate(detector, split.test, masks=split.masks)
    size = len(detector.artefact.onnx)
    shared = {"model_bytes": size, "fit_seconds": round(seconds, 1), "fit_peak_mib": round(peak.mebibytes)}
    append(RESULTS, note | {"model": STUDENT, **row_of(evaluation.metrics), **shared})


def memory(split: PictureSplit, config: Any, seed: int, note: dict[str, Any]) -> None:
    """Measure the memory on the same pictures."""
    start = time.perf_counter()
    prepared = prepare_pictures(str(split.train), size=config.size, normal=None, on_corrupt="refuse", seed=seed)
    model = Memory(Teacher.load(config.backbone, config.taps, config.weights), config.size, seed)
    model.learn(prepared.learn)
    seconds = time.perf_counter() - start
    normals, _ = model.score(prepared.calibration)
    tested = find_pictures(split.test, masks=split.masks).testing()
    score, maps = model.score(PictureItems(prepared.learn.spec, tested))  # type: ignore[arg-type]
    y = np.array([p.label for p in tested])
    calibrator = Calibrator.fit(normals, np.zeros(len(normals)))
    alpha = max(ALPHA, calibrator.smallest_rate)
    threshold = calibrator.threshold(alpha)
    values: dict[str, float] = {
        "auroc": metrics.auroc(y, score),
        "average_precision": metrics.average_precision(y, score),
        "f1_max": metrics.f1_max(y, score),
        "f1_at_threshold": metrics.f1_at(y, score, threshold),
        "false_alarm_rate": float((score[y == 0] > threshold).mean()),
        "alpha": alpha,
    }
    if split.masks:
        size = maps.shape[1:]
        masks = [np.zeros(size, bool) if p.mask is None else decode_mask(p.mask, size) for p in tested]
        values |= pixel_metrics(np.stack(masks), maps)
    shared = {"model_bytes": 4 * model.bank.numel(), "fit_seconds": round(seconds, 1), "fit_peak_mib": ""}
    append(RESULTS, note | {"model": MEMORY, **row_of(values), **shared})


def table() -> None:
    """Print means over the seeds."""
    rows = read(RESULTS)
    print(f"{'set':22}{'model':28}" + "".join(f"{key[:16]:>18}" for key in KEYS) + f"{'fit s':>8}")
    for name, model, tag in dict.fromkeys((r["set"], r["model"], r["tag"]) for r in rows):
        mine = [r for r in rows if (r["set"], r["model"], r["tag"]) == (name, model, tag)]
        cells = []
        for key in KEYS:
            values = [float(r[key]) for r in mine if r[key]]
            cells.append(f"{statistics.mean(values):.3f} ({statistics.pstdev(values):.3f})" if values else "")
        seconds = statistics.mean(float(r["fit_seconds"]) for r in mine)
        print(
            f"{name:22}{model + (' ' + tag if tag else ''):28}" + "".join(f"{c:>18}" for c in cells) + f"{seconds:8.0f}"
        )


def markdown() -> None:
    """Print the table of the docs: means over the seeds, their spread in brackets where there are several."""
    shown = {
        "auroc": "image AUROC",
        "average_precision": "AP",
        "f1_max": "F1 max",
        "f1_at_threshold": "F1 at threshold",
        "false_alarm_rate": "false alarms",
        "alpha": "promised",
        "pixel_auroc": "pixel AUROC",
        "aupro_30": "AUPRO",
    }
    print("| set | model | seeds | " + " | ".join(shown.values()) + " |\n" + "| --- " * (3 + len(shown)) + "|")
    rows = read(RESULTS)
    for name, model, tag in sorted(dict.fromkeys((r["set"], r["model"], r["tag"]) for r in rows)):
        mine = [r for r in rows if (r["set"], r["model"], r["tag"]) == (name, model, tag)]
        cells = []
        for key in shown:
            values = [float(r[key]) for r in mine if r[key]]
            spread = f" ({statistics.pstdev(values):.3f})" if len(set(values)) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}" if values else "")
        print(f"| {name} | {model + (f', {tag}' if tag else '')} | {len(mine)} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    go_through(__doc__, list(PICTURE_SETS), run, table, markdown)
