r"""Repeat a paper's table on MVTec AD: one model a category, its recipe, your copy of the data and of the weights.

Every good picture of the training split is learned, as in the papers: there is no threshold, so none is set aside. With
`--default` the library's own recipe is used instead. Categories that the table already holds are not learned again.

    python benchmarks/mvtec.py mvtec_anomaly_detection --weights wide_resnet50_2-95faca4d.pth --out mvtec.csv
    python benchmarks/mvtec.py mvtec_anomaly_detection --weights vgg16-397923af.pth --out ra.csv \
        --method residual-attention

Deng and Li, CVPR 2022, table 1 and 3: WideResNet-50-2, mean of 15 categories: image AUROC 0.985, pixel AUROC 0.978,
PRO 0.939, the last one by a procedure of their own (`pro_rd4ad_compat`). "Industrial anomaly detection via teacher
student network", 2023: 0.967 and 0.979; its recipe is that of STPM, a reconstruction.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from _results import append, held, read

from limbeck import metrics
from limbeck.config import parse_assignment
from limbeck.data.images import PictureItems, decode_mask, learn_picture_spec
from limbeck.data.layouts import find_pictures
from limbeck.errors import InputError, LimbeckError
from limbeck.fitting import configure
from limbeck.image.config import PictureConfig
from limbeck.image.residual_attention import ResidualAttention
from limbeck.image.reverse_distillation import ReverseDistillation
from limbeck.pixel_metrics import pixel_metrics, pro_rd4ad_compat
from limbeck.runtime import scorer_for

EPOCHS, AT_ONCE = 200, 16
COMMON: dict[str, Any] = {
    "footing": "none", "schedule": "constant", "sigma": 4.0, "score": "max", "size": 256, "measure": "cosine",
}  # fmt: skip
PAPERS: dict[str, dict[str, Any]] = {
    "reverse-distillation": COMMON | {
        "backbone": "wide_resnet50_2", "held_out": 0.0, "batch": 16, "rate": 0.005, "loss": "global", "mix": 0.0,
    },
    "residual-attention": COMMON | {
        "backbone": "vgg16", "held_out": 0.2, "batch": 32, "optimiser": "sgd", "rate": 0.4, "decay": 1e-4,
        "loss": "l2norm", "keep": "best",
    },
}  # fmt: skip
PUBLISHED = {
    "reverse-distillation": {"auroc": 0.985, "pixel_auroc": 0.978, "pro_rd4ad_compat": 0.939},
    "residual-attention": {"auroc": 0.967, "pixel_auroc": 0.979},
}
DISTILLERS = {"reverse-distillation": ReverseDistillation, "residual-attention": ResidualAttention}
KEYS = ("auroc", "average_precision", "pixel_auroc", "pixel_average_precision", "aupro_30", "pro_rd4ad_compat")


def recipe(method: str, pictures: int, values: Mapping[str, Any], *, default: bool) -> PictureConfig:
    """Return the configuration for a category of so many pictures: the paper's, or the library's own."""
    paper = PAPERS[method]
    learned, batch = pictures - round(paper["held_out"] * pictures), paper["batch"]
    batches = max(1, learned // batch + (learned % batch > 1))  # a last batch of one joins the one before it
    config: PictureConfig = configure(method, {**({} if default else paper | {"steps": EPOCHS * batches}), **values})
    return config


def measure(
    category: Path, values: Mapping[str, Any], seed: int, *, default: bool, method: str = "reverse-distillation"
) -> dict[str, object]:
    """Learn one category and measure it on its test split."""
    good = find_pictures(category).training()
    config = recipe(method, len(good), values, default=default)
    spec, _ = learn_picture_spec(good, config.size)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        artefact = DISTILLERS[method](config).fit(PictureItems(spec, good), seed=seed, workdir=Path(place))
    seconds = time.perf_counter() - start
    test = find_pictures(category, masks=True).testing()
    scorer = scorer_for(artefact, "onnx")
    said = [(scorer(batch.x), batch.label) for batch in PictureItems(spec, test).batches(AT_ONCE)]
    score, y = np.concatenate([s.score for s, _ in said]), np.concatenate([label for _, label in said])
    maps = np.concatenate([np.asarray(s.map) for s, _ in said])
    empty = np.zeros((spec.height, spec.width), bool)
    masks = np.stack([empty if p.mask is None else decode_mask(p.mask, empty.shape) for p in test])
    found = {"auroc": metrics.auroc(y, score), "average_precision": metrics.average_precision(y, score)}
    found |= pixel_metrics(masks, maps) | {"pro_rd4ad_compat": pro_rd4ad_compat(masks, maps)}
    return {**{key: found[key] for key in KEYS}, "steps": config.steps, "fit_seconds": round(seconds, 1)}


def categories(folder: Path, wanted: list[str]) -> list[Path]:
    """Return the folders of the categories: those asked for, or all that have a training and a test split."""
    found = {f.name: f for f in sorted(folder.iterdir()) if (f / "train").is_dir() and (f / "test").is_dir()}
    missing = [name for name in wanted if name not in found]
    if missing or not found:
        raise InputError(
            f"{folder.name} has no category {', '.join(missing)}" if missing else f"{folder.name} has no categories",
            expected="folders with train/good, test/DEFECT and ground_truth/DEFECT in them",
            got=", ".join(found) or "none",
            fix="give the folder that holds bottle, cable, ... of MVTec AD",
        )
    return [found[name] for name in wanted or found]


def table(file: Path, recipe: str, published: Mapping[str, float]) -> None:
    """Print each category and the means, and the published ones."""
    rows = [row for row in read(file) if row["recipe"] == recipe]
    print(f"{'category':16}" + "".join(f"{key:>26}" for key in KEYS))
    for row in rows:
        print(f"{row['category']:16}" + "".join(f"{float(row[key]):26.3f}" for key in KEYS))
    print(f"{'mean':16}" + "".join(f"{statistics.mean(float(row[key]) for row in rows):26.3f}" for key in KEYS))
    cells = (f"{published[key]:26.3f}" if key in published else f"{'':26}" for key in KEYS)
    print(f"{'published':16}" + "".join(cells))


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of MVTec AD: a folder for each category")
    parser.add_argument("--method", choices=PAPERS, default="reverse-distillation")
    parser.add_argument("--weights", default="", help="the teacher's: a checkpoint file; empty = cache or download")
    parser.add_argument("--categories", nargs="+", default=[], help="default: all that are there")
    parser.add_argument("--out", type=Path, default=Path("mvtec.csv"), help="the table")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--default", action="store_true", help="the library's own recipe instead of the paper's")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="changes the recipe")
    given = parser.parse_args(arguments)
    values = dict(map(parse_assignment, given.set)) | ({"weights": given.weights} if given.weights else {})
    method = [given.method] if given.method != "reverse-distillation" else []
    name = " ".join(["default" if given.default else "paper", *method, *given.set, f"seed={given.seed}"])
    try:
        for category in categories(given.folder, given.categories):
            if not held(given.out, category=category.name, recipe=name):
                found = measure(category, values, given.seed, default=given.default, method=given.method)
                append(given.out, {"category": category.name, "recipe": name, **found})
                print(f"done: {category.name}", file=sys.stderr, flush=True)
    except (LimbeckError, OSError) as error:
        sys.exit(str(error))
    table(given.out, name, PUBLISHED[given.method])


if __name__ == "__main__":
    main()
