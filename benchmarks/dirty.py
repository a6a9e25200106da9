"""What do anomalies hidden in the training set cost? Magnetic tile and screw, three folds, identical splits.

Reverse distillation, cross-domain distillation and a memory that forgets outliers (`_soft_memory.py`) learn from the
same pictures; so does reverse distillation twice, where a person looks through the first fifth of its suspicion list,
takes out what really is bad, and lets it learn again from what is left. Each is compared with a fit of its own on the
clean ones, on the same test, by a paired bootstrap over its pictures. The hidden anomalies leave the test, or stay in
it: both are read off one fit.

    python benchmarks/dirty.py [--sets screw] [--folds 0 1 2] [--ratios 0 0.1] [--models NAME ...]
                               [--set FIELD=VALUE ... --tag NAME]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _data import available, picture_split
from _results import append, held, read
from _soft_memory import SoftMemory
from numpy.typing import NDArray

import limbeck
from limbeck import metrics
from limbeck.config import parse_assignment
from limbeck.data.images import PictureItems, decode_mask
from limbeck.data.layouts import find_pictures
from limbeck.data.noisy_split import NoisySplit, make_noisy_split
from limbeck.evaluate import evaluate
from limbeck.fitting import configure
from limbeck.fitting.pictures import prepare_pictures
from limbeck.image.teacher import Teacher
from limbeck.pixel_metrics import pixel_metrics
from limbeck.suspects import suspects

RESULTS = Path(__file__).with_suffix(".csv")
SCORES = Path(__file__).parent / ".scores"  # of clean fits, for the pairs; made again where they are gone
SETS = ("magnetic tile", "screw")
REFERENCE, BY_HAND = "reverse distillation", "cleaned by hand"
MODELS = {REFERENCE: "reverse-distillation", "cross-domain distillation": "cross-domain", "memory": "",
          BY_HAND: "reverse-distillation"}  # fmt: skip
LOOKED_AT = 0.2  # share of the suspicion list that a person looks at
HEADLINE = (0.0, 0.1)
ALPHA = 0.05
RESAMPLES = 2000
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Measured:
    """What a model says of the whole test, and of what it learned from."""

    ids: tuple[str, ...]
    label: NDArray[np.int8]
    score: Floats
    masks: NDArray[np.bool_]
    maps: Floats
    threshold: float
    facts: Mapping[str, Any]  # of the fit


def split_of(name: str, fold: int, ratio: float, folder: Path, *, overlap: bool) -> tuple[Path, Path, NoisySplit]:
    """Return the list to learn from, that of the whole test, and what was drawn."""
    whole = picture_split(name, fold, folder)
    clean = whole.train.read_text().splitlines()
    lines = {line.split("\t")[0]: line.split("\t")[1:] for line in whole.test.read_text().splitlines()}
    short = {path: str(Path(path).relative_to(folder)) for path in (*clean, *lines)}  # the draw depends on the ids
    back = {id: path for path, id in short.items()}
    label = [int(rest[0] != "good") for rest in lines.values()]
    drawn = make_noisy_split(
        [short[p] for p in clean], [short[p] for p in lines], label, ratio=ratio, overlap=overlap, fold=fold
    )
    learn = folder / "learn.txt"
    learn.write_text("".join(f"{back[str(id)]}\n" for id in drawn.train))
    return learn, whole.test, drawn


def distilled(method: str, learn: Path, test: Path, fold: int, fields: Mapping[str, Any], hidden: set[str]) -> Measured:
    """Fit a method of ours."""
    start, cpu = time.perf_counter(), time.process_time()
    detector = fitted(method, learn, fold, fields)
    facts: dict[str, Any] = {"fit_seconds": round(time.perf_counter() - start)}
    facts["fit_cpu_seconds"] = round(time.process_time() - cpu)
    facts["agreement"] = detector.artefact.training.get("agreement", "")
    return judged(detector, learn, test, hidden, facts)


def cleaned(method: str, learn: Path, test: Path, fold: int, fields: Mapping[str, Any], hidden: set[str]) -> Measured:
    """Fit, take out what a person finds among the first of the list, and fit again on what is left."""
    start, cpu = time.perf_counter(), time.process_time()
    detector = fitted(method, learn, fold, fields)
    pictures = find_pictures(learn).training()
    items = PictureItems(detector.spec, pictures)  # type: ignore[arg-type]
    scores = np.concatenate([detector.scorer(batch.x).score for batch in items.batches(32)])
    first = {str(pictures[k].path) for k in np.argsort(-scores, kind="stable")[: round(LOOKED_AT * len(scores))]}
    left = learn.with_name("left.txt")
    left.write_text("".join(f"{p.path}\n" for p in pictures if str(p.path) not in first & hidden))
    detector = fitted(method, left, fold, fields)
    facts: dict[str, Any] = {"fit_seconds": round(time.perf_counter() - start)}
    facts["fit_cpu_seconds"] = round(time.process_time() - cpu)
    return judged(detector, left, test, hidden - first, facts)


def fitted(method: str, learn: Path, fold: int, fields: Mapping[str, Any]) -> limbeck.Detector:
    """Learn through the front door."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return limbeck.fit(learn, method=method, config=configure(method, dict(fields)), alpha=ALPHA, seed=fold)


def judged(detector: limbeck.Detector, learn: Path, test: Path, hidden: set[str], facts: dict[str, Any]) -> Measured:
    """Ask a detector for everything that is measured."""
    found = evaluate(detector, test)
    assert found.pictures is not None
    assert found.pictures.masks is not None
    ids = tuple(str(p.path) for p in found.pictures.pictures)
    trained = PictureItems(detector.spec, find_pictures(learn).training())  # type: ignore[arg-type]
    if "suspects" in detector.artefact.training:
        rank = {id: -float(place) for place, id in enumerate(suspects(detector)["id"])}
        facts |= listed(trained, np.array([rank[p.id] for p in trained.pictures]), hidden)
    else:
        scores = np.concatenate([detector.scorer(batch.x).score for batch in trained.batches(32)])
        facts |= listed(trained, scores, hidden)
    return Measured(ids, found.label, found.score, found.pictures.masks, found.pictures.maps, detector.threshold, facts)


def remembered(learn: Path, test: Path, fold: int, hidden: set[str]) -> Measured:
    """Fit the memory."""
    config = configure("reverse-distillation")
    start, cpu = time.perf_counter(), time.process_time()
    prepared = prepare_pictures(str(learn), size=config.size, normal=None, on_corrupt="refuse", seed=fold)
    model = SoftMemory(Teacher.load(config.backbone, config.taps, config.weights), config.size, fold)
    model.learn(prepared.learn)
    facts: dict[str, Any] = {"fit_seconds": round(time.perf_counter() - start)}
    facts["fit_cpu_seconds"] = round(time.process_time() - cpu)
    tested = find_pictures(test, masks=True).testing()
    score, maps = model.score(PictureItems(prepared.learn.spec, tested))  # type: ignore[arg-type]
    size = maps.shape[1:]
    masks = np.stack([np.zeros(size, bool) if p.mask is None else decode_mask(p.mask, size) for p in tested])
    normals, _ = model.score(prepared.calibration)
    label = np.array([p.label for p in tested], np.int8)
    threshold = float(np.quantile(normals, 1 - ALPHA))
    return Measured(tuple(str(p.path) for p in tested), label, score, masks, maps, threshold, facts)


def listed(trained: PictureItems, scores: Floats, hidden: set[str]) -> dict[str, Any]:
    """Say how good a suspicion list is: of its first ones, as many as are hidden, the share that is hidden."""
    if not hidden:
        return {}
    bad = np.array([str(p.path) in hidden for p in trained.pictures])
    first = np.argsort(-scores, kind="stable")[: bad.sum()]
    return {"list_precision": float(bad[first].mean()), "list_auroc": metrics.auroc(bad.astype(np.int8), scores)}


def row_of(found: Measured, used: NDArray[np.bool_], clean: Floats | None) -> dict[str, Any]:
    """Return the figures of a test, beside those of the clean fit."""
    label, score = found.label[used], found.score[used]
    pixels = pixel_metrics(found.masks[used], found.maps[used])
    row: dict[str, Any] = {
        "auroc": metrics.auroc(label, score),
        "pixel_auroc": pixels["pixel_auroc"],
        "aupro_30": pixels["aupro_30"],
        "recall": float((score[label == 1] > found.threshold).mean()),
        "false_alarm_rate": float((score[label == 0] > found.threshold).mean()),
    }
    row |= dict.fromkeys(("clean_auroc", "drop", "drop_low", "drop_high"), "")
    if clean is not None:
        other, rng, drops = clean[used], np.random.default_rng(0), []
        classes = [np.flatnonzero(label == y) for y in (0, 1)]
        for _ in range(RESAMPLES):
            drawn = np.concatenate([rng.choice(c, len(c)) for c in classes])
            drops.append(metrics.auroc(label[drawn], other[drawn]) - metrics.auroc(label[drawn], score[drawn]))
        row["clean_auroc"] = metrics.auroc(label, other)
        row["drop"] = row["clean_auroc"] - row["auroc"]
        row["drop_low"], row["drop_high"] = (float(v) for v in np.quantile(drops, (0.025, 0.975)))
    return row


def measure(name: str, fold: int, model: str, ratio: float, fields: Mapping[str, Any], tag: str) -> None:
    """Fit once, and write down both tests."""
    note = {"set": name, "fold": fold, "model": model, "tag": tag, "ratio": ratio}
    own = REFERENCE if model == BY_HAND else model  # without hidden ones there is nothing to take out
    kept = SCORES / f"{name}-{fold}-{own}-{tag}.npy".replace(" ", "_")
    if model == BY_HAND and not ratio:
        return
    if held(RESULTS, **note, overlap=True) and (ratio or kept.exists()):
        return
    with tempfile.TemporaryDirectory() as place:
        learn, test, drawn = split_of(name, fold, ratio, Path(place), overlap=False)
        hidden = {str(Path(place) / str(id)) for id in drawn.added}
        if MODELS[model]:
            how = cleaned if model == BY_HAND else distilled
            found = how(MODELS[model], learn, test, fold, fields, hidden)
        else:
            found = remembered(learn, test, fold, hidden)
        clean = None
        if not ratio:
            SCORES.mkdir(exist_ok=True)
            np.save(kept, found.score)
        elif kept.exists():
            clean = np.load(kept)  # of the same test, in the same order
        facts = {"list_precision": "", "list_auroc": "", "agreement": "", **found.facts}
        for overlap in (False, True):
            if held(RESULTS, **note, overlap=overlap):
                continue
            used = np.array([overlap or id not in hidden for id in found.ids])
            share = {"share": drawn.share, "hidden": len(hidden), "anomalies_left": int(found.label[used].sum())}
            append(RESULTS, note | {"overlap": overlap, **share, **row_of(found, used, clean), **facts})


def table() -> None:
    """Print the table of the docs: means over the folds, their spread in brackets."""
    keys = ("share", "anomalies_left", "auroc", "clean_auroc", "drop", "pixel_auroc", "aupro_30", "list_precision",
            "recall", "false_alarm_rate")  # fmt: skip
    rows = read(RESULTS)
    print("| set | ratio | test | model | folds | " + " | ".join(keys) + " |\n" + "| --- " * (5 + len(keys)) + "|")
    groups = dict.fromkeys((r["set"], r["ratio"], r["overlap"], r["model"], r["tag"]) for r in rows)
    for group in sorted(groups):
        mine = [r for r in rows if (r["set"], r["ratio"], r["overlap"], r["model"], r["tag"]) == group]
        name, ratio, overlap, model, tag = group
        cells = []
        for key in keys:
            values = [float(r[key]) for r in mine if r[key]]
            spread = f" ({statistics.pstdev(values):.3f})" if len(set(values)) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}" if values else "")
        test = "whole" if overlap == "True" else "without the hidden"
        label = f"| {name} | {ratio} | {test} | {model + (f', {tag}' if tag else '')} | {len(mine)} | "
        print(label + " | ".join(cells) + " |")


def main() -> None:
    """Measure what is missing, the clean fits first, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ratios", type=float, nargs="+", default=list(HEADLINE))
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="for an ablation")
    parser.add_argument("--tag", default="", help="names the ablation")
    parser.add_argument("--markdown", action="store_true", help="print the table, and measure nothing")
    given = parser.parse_args()
    if not given.markdown:
        if not available():
            sys.exit("the data are not there: set LIMBECK_DATA to their folder")
        if bool(given.set) != bool(given.tag):
            sys.exit("an ablation needs both --set and --tag")
        fields = dict(map(parse_assignment, given.set))
        for fold in given.folds:
            for name in given.sets:
                for model in given.models:
                    for ratio in sorted(given.ratios):
                        measure(name, fold, model, ratio, fields, given.tag)
                        print(f"done: {name}, fold {fold}, {model}, {ratio} {given.tag}", flush=True)
    table()


if __name__ == "__main__":
    main()
