"""How fast is a detector of pictures, and how much memory does it need? Four parts, made-up pictures of 256 pixels.

Training: a ResNet-18 teacher of random weights and its student, whose teacher's features are kept on disk, beside two
plain loops that decode every batch and ask the teacher again. The careless one runs the whole teacher and lets
gradients flow through it; the careful one does neither. All have the same student, batches, loss and optimiser, and
take turns, an epoch each.

Stages and single pictures: the default teacher. Calls that are compared take turns.

Memory: peak anonymous memory of a process of its own, of learning from a folder of 10,000 pictures with less room for
features than they need, and of scoring such a folder. Its files are links to 96 that differ.

    python benchmarks/picture_speed.py [--parts training stages single memory] [--quick]

A part that is measured replaces its rows in picture_speed.csv; `--quick` only tries the script, on a few pictures of 64
pixels, and writes nothing.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import functools
import importlib.metadata
import json
import math
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from _memory import FIT, SCORE, link, watched
from _results import machine, read, versions
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

import limbeck
from limbeck.contracts import Step
from limbeck.data.images import PictureItems, decode, learn_picture_spec
from limbeck.data.layouts import find_pictures
from limbeck.detector import Detector
from limbeck.errors import LimbeckError
from limbeck.graph import to_onnx
from limbeck.image.backbones import ARCHITECTURES, build
from limbeck.image.config import ReverseDistillationConfig
from limbeck.image.features import Features
from limbeck.image.losses import feature_loss
from limbeck.image.matching import export, find_footing
from limbeck.image.pretrained import load_weights
from limbeck.image.reverse_distillation import ReverseDistillationModel, build_model
from limbeck.image.train import batches, train
from limbeck.runtime import PictureScorer
from limbeck.spec import for_pictures

RESULTS = Path(__file__).with_suffix(".csv")
ALPHA = 0.1
FEW_STEPS = 5  # of a model whose speed alone is asked
Found = dict[str, float]
Pictures = NDArray[np.uint8]
Clocks = NDArray[np.float64]  # seconds on the wall, and of the processor
Teach = Callable[[Tensor], Sequence[Tensor]]


@dataclass(frozen=True)
class Amounts:
    """How much is measured."""

    size: int  # pixels
    pictures: int  # that are different; a multiple of the batch
    rounds: int  # epochs in turns, after the first
    calls: int  # of each kind that takes turns
    steps: int  # learned from the large folder
    many: int  # pictures in the large folder
    maps: int  # pictures in the folder that is scored with maps
    cache_gb: float  # room for the features of the large folder


FULL = Amounts(size=256, pictures=96, rounds=3, calls=480, steps=50, many=10_000, maps=500, cache_gb=1.0)
QUICK = Amounts(size=64, pictures=32, rounds=1, calls=16, steps=2, many=64, maps=8, cache_gb=0.0003)


def draw(folder: Path, count: int, size: int) -> list[Path]:
    """Draw pictures, each with other clouds, rings and grain."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    place = np.mgrid[:size, :size] / size
    files = []
    for i in range(count):
        small = Image.fromarray(rng.integers(60, 200, (8, 8, 3), np.uint8))
        clouds = np.asarray(small.resize((size, size), Image.Resampling.BICUBIC)).astype(np.float64)
        far = np.hypot(*(place - rng.uniform(0.4, 0.6, (2, 1, 1))))  # (h, w)
        values = clouds + 25 * np.sin(40 * far)[..., None] + rng.normal(0, 4, clouds.shape)
        files.append(folder / f"{i:05d}.png")
        Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(files[-1])
    return files


# Training


def clocks() -> Clocks:
    """Return both clocks; other work on the machine hardly touches the second."""
    return np.array([time.perf_counter(), time.process_time()])


def careless_teacher() -> Teach:
    """Return a whole ResNet-18 that wants gradients; its features are those of our teacher."""
    taps = [tap.name for tap in ARCHITECTURES["resnet18"].taps]  # the last one is not asked for, but computed
    state, facts = load_weights("resnet18", "random", taps=taps)
    network = build("resnet18", taps)
    network.load_state_dict(state)
    network.eval()
    mean, std = (torch.tensor(facts[key]).view(1, 3, 1, 1) for key in ("mean", "std"))

    def teach(pictures: Tensor) -> Sequence[Tensor]:
        x = pictures.permute(0, 3, 1, 2).contiguous().float() / 255
        features: list[Tensor] = network((x - mean) / std)
        return features[:-1]

    return teach


class Loop:
    """A plain loop: each step decodes its pictures and asks the teacher again."""

    def __init__(self, files: Sequence[Path], config: ReverseDistillationConfig, teach: Teach | None) -> None:
        model = build_model(config, seed=0)
        self.files, self.config, self.teach = files, config, teach or model.targets
        self.student = model.student.train()
        self.optimiser = torch.optim.AdamW(self.student.parameters(), config.rate, (0.5, 0.999), fused=True)
        self.losses: list[float] = []

    def learn(self, steps: Iterator[tuple[int, NDArray[np.int64]]]) -> None:
        """Go through some steps."""
        for _, places in steps:
            pictures = np.stack([np.asarray(Image.open(self.files[i]).convert("RGB")) for i in places])
            features = self.teach(torch.from_numpy(pictures))
            loss = feature_loss(features, self.student(features), self.config.loss)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            self.losses.append(float(loss.detach()))


def take_turns(
    model: ReverseDistillationModel, features: Features, loops: dict[str, Loop], work: Path
) -> tuple[dict[str, list[Clocks]], float]:
    """Return both clocks of each epoch, ours by `train` itself, and the seconds of a checkpoint."""
    n, config = len(features), model.config
    each = n // config.batch
    seconds: dict[str, list[Clocks]] = {name: [] for name in ("ours", *loops)}
    losses: list[float] = []
    started = clocks()

    def on_step(step: Step) -> None:
        nonlocal started
        losses.append(step.values["loss"])
        if step.done % each:
            return
        seconds["ours"].append(clocks() - started)
        for name, loop in loops.items():
            started = clocks()
            loop.learn(batches(n, config.batch, step.done, 0, step.done - each))
            seconds[name].append(clocks() - started)
        started = clocks()

    train(model, features, np.arange(n), config, seed=0, workdir=work, on_step=on_step)
    saving = float((clocks() - started)[0])
    for name, loop in loops.items():  # the same pictures, student and loss: features alone were rounded on disk
        if abs(loop.losses[0] - losses[0]) > 0.01 * losses[0]:
            sys.exit(f"the {name} learns something else: {loop.losses[0]:.4f} at first, not {losses[0]:.4f}")
    return seconds, saving


def training(folder: Path, amounts: Amounts) -> Found:
    """Compare an epoch of ours with those of plain loops."""
    files = draw(folder / "pictures", amounts.pictures, amounts.size)
    default = ReverseDistillationConfig(backbone="resnet18", weights="random", size=amounts.size, schedule="constant")
    each = amounts.pictures // default.batch
    config = dataclasses.replace(default, steps=each * (1 + amounts.rounds), checkpoint=1e9)
    pictures = find_pictures(folder / "pictures").pictures
    items = PictureItems(learn_picture_spec(pictures, default.size)[0], pictures)
    model = build_model(config, seed=0)
    start = time.perf_counter()
    most = int(config.cache_gb * 1e9)
    features = Features(items, model.targets, model.shapes, folder=folder, most_bytes=most, key="")
    for _ in features.fill():
        pass
    teaching = time.perf_counter() - start
    teachers = {"careless loop": careless_teacher(), "careful loop": None}
    loops = {name: Loop(files, config, teach) for name, teach in teachers.items()}
    seconds, saving = take_turns(model, features, loops, folder)
    start = time.perf_counter()
    find_footing(model, features, np.arange(max(4, round(config.held_out * len(items)))))
    footing = time.perf_counter() - start
    start = time.perf_counter()
    export(model, next(iter(items.batches(4))).x, "reverse-distillation")
    fixed = {"teaching": teaching, "footing": footing, "export": time.perf_counter() - start, "a checkpoint": saving}
    return told(seconds, each, default, fixed)


def told(seconds: dict[str, list[Clocks]], each: int, config: ReverseDistillationConfig, fixed: Found) -> Found:
    """Return the rows of training: of an epoch, and of a whole fit by the seconds of a step and what comes once."""
    later, processor = ({name: float(np.median(s[1:], axis=0)[k]) for name, s in seconds.items()} for k in range(2))
    learning = {name: s / each * config.steps for name, s in later.items()}
    whole = {name: s + fixed["footing"] + fixed["export"] for name, s in learning.items()}
    whole["ours"] += fixed["teaching"] + fixed["a checkpoint"] * (1 + int(learning["ours"] / config.checkpoint))
    found = {"ours, first epoch with teaching, s": fixed["teaching"] + float(seconds["ours"][0][0])}
    found |= {f"{name}, epoch from the second on, s": s for name, s in later.items()}
    found |= {f"{what}, s": s for what, s in fixed.items()}
    fit = f"fit of {config.steps} steps, extrapolated from a step's seconds and what comes once"
    found |= {f"{fit}: {name}, s": s for name, s in whole.items()}
    for name in [name for name in seconds if name != "ours"]:
        wanted = " (wanted: at least 1.7)" if name.startswith("careless") else ""
        found[f"times faster than {name}, from the second epoch on{wanted}"] = later[name] / later["ours"]
        ratio = processor[name] / processor["ours"]
        found[f"times less processor time than {name}, from the second epoch on"] = ratio
        found[f"times faster than {name}, {fit}"] = whole[name] / whole["ours"]
    return found


# One picture


class Upto(nn.Module):
    """A model up to its teacher or to its student."""

    def __init__(self, model: ReverseDistillationModel, student: bool) -> None:
        super().__init__()
        self.model, self.student = model, student

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Return features, or their re-creation."""
        features = self.model.teacher(pictures)
        return tuple(self.model.student(features) if self.student else features)


def session_of(graph: bytes, threads: int) -> Any:
    """Open a graph as the package does; with 0, as many threads as it likes."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def run_on(session: Any, x: Pictures) -> Sequence[NDArray[np.float32]]:
    """Give a graph a batch, as the package does."""
    found: Sequence[NDArray[np.float32]] = session.run(None, {"pictures": x})
    return found


def fitted(folder: Path, size: int) -> Detector:
    """Fit the default model for a handful of steps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return limbeck.fit(folder, config={"steps": FEW_STEPS, "size": size}, alpha=ALPHA)


def stages(folder: Path, amounts: Amounts) -> Found:
    """Split the time of a picture: its decoding, and three graphs of which each goes further than the one before."""
    files = draw(folder / "pictures", amounts.pictures, amounts.size)
    detector = fitted(folder / "pictures", amounts.size)
    spec = for_pictures(detector.spec)
    model = build_model(ReverseDistillationConfig(size=amounts.size), seed=0)
    example = np.zeros((2, amounts.size, amounts.size, 3), np.uint8)
    names = [f"scale{k}" for k in range(len(model.shapes) * model.times)]
    graphs = [
        to_onnx(Upto(model, student), example, input_name="pictures", output_names=names[:count], properties={})
        for student, count in ((False, len(model.shapes)), (True, len(names)))
    ]
    sessions = [session_of(graph, 1) for graph in (*graphs, detector.artefact.onnx)]
    times = []
    for i in range(-8, amounts.calls):
        marks = [time.perf_counter()]
        x = spec.prepare(decode(files[i % len(files)]))[None]
        marks.append(time.perf_counter())
        for session in sessions:
            session.run(None, {"pictures": x})
            marks.append(time.perf_counter())
        if i >= 0:
            times.append(np.diff(marks))
    reading, teacher, student, whole = np.array(times).T * 1e3
    told = "ms, ONNX graphs on one thread"
    found = {
        "decoding, ms": reading,
        f"teacher, {told}": teacher,
        f"student, {told}, difference of two": student - teacher,
        f"map and score, {told}, difference of two": whole - student,
        f"whole graph, {told}": whole,
    }
    return {what: float(np.median(values)) for what, values in found.items()}


def bare(session: Any, size: int, file: Path) -> Any:
    """Do what anybody would write who has the graph alone."""
    with Image.open(file) as image:
        x = np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))[None]
    return session.run(None, {"pictures": x})


def single(folder: Path, amounts: Amounts) -> Found:
    """Compare `detect` on a file with the bare graph."""
    files = draw(folder / "pictures", amounts.pictures, amounts.size)
    fit = fitted(folder / "pictures", amounts.size)
    found: Found = {}
    for threads, word in ((1, "one thread"), (0, "the package's own threads")):
        session = session_of(fit.artefact.onnx, threads)
        scorer = PictureScorer(
            for_pictures(fit.spec), functools.partial(run_on, session_of(fit.artefact.onnx, threads))
        )
        detector = dataclasses.replace(fit, scorer=scorer)
        if not np.array_equal(detector.detect(files[0]).score, bare(session, amounts.size, files[0])[0]):
            sys.exit("the bare graph is not given the same picture")
        calls: list[tuple[str, Callable[[Path], object]]] = [
            ("detect", detector.detect),
            ("bare onnxruntime", functools.partial(bare, session, amounts.size)),
        ]
        times: dict[str, list[float]] = {name: [] for name, _ in calls}
        for i in range(-8, amounts.calls):
            for name, call in calls[:: 1 if i % 2 else -1]:  # each is as often the first to read a file
                start = time.perf_counter()
                call(files[i % len(files)])
                if i >= 0:
                    times[name].append(1e3 * (time.perf_counter() - start))
        for name, values in times.items():
            found |= {f"{name}, {word}, p{p}, ms": float(np.percentile(values, p)) for p in (50, 95)}
        ratio = statistics.median(times["detect"]) / statistics.median(times["bare onnxruntime"])
        found[f"detect / bare onnxruntime, {word}, medians (wanted: at most 1.10)"] = ratio
    return found


# Memory


def memory(folder: Path, amounts: Amounts) -> Found:
    """Learn from a large folder and score it, each in a process of its own."""
    files = draw(folder / "pictures", amounts.pictures, amounts.size)
    large, few = link(folder / "large", files, amounts.many), link(folder / "few", files, amounts.maps)
    package, python = folder / "it.limbeck", [sys.executable, "-c"]
    fields = json.dumps({"steps": amounts.steps, "cache_gb": amounts.cache_gb, "size": amounts.size})
    fit = watched([*python, FIT, str(large), str(package), fields], folder)
    over = json.loads(fit.said.splitlines()[-1])
    scoring = watched([*python, SCORE, str(package), str(large), str(folder / "large.parquet")], folder)
    results = [str(folder / "few.parquet"), str(folder / "maps")]
    mapping = watched([*python, SCORE, str(package), str(few), *results], folder)
    model = build_model(ReverseDistillationConfig(size=amounts.size), seed=0)
    kept = int(amounts.cache_gb * 1e9) // (2 * sum(map(math.prod, model.shapes)))
    learn = f"learning, {amounts.many} pictures, features of {kept} kept"
    return {
        f"{learn}: peak anonymous MiB (wanted: below 3815)": fit.mebibytes,
        f"{learn}: teaching, s": over["teaching"] - over["reading"],
        f"{learn}: {amounts.steps} steps, s": over["learning"] - over["teaching"],
        f"{learn}: footing and export, s": over["exporting"] - over["learning"],
        f"{learn}: calibration and saving, s": over["end"] - over["exporting"],
        f"{learn}: whole process, s": fit.seconds,
        f"scoring, {amounts.many} pictures: peak anonymous MiB (wanted: below 1430)": scoring.mebibytes,
        f"scoring, {amounts.many} pictures: pictures/s": float(scoring.said),
        f"scoring, {amounts.maps} pictures with maps: peak anonymous MiB": mapping.mebibytes,
        f"scoring, {amounts.maps} pictures with maps: pictures/s": float(mapping.said),
    }


PARTS = {"training": training, "stages": stages, "single": single, "memory": memory}


def write(part: str, found: Found) -> None:
    """Replace the rows of one part."""
    rows = read(RESULTS) if RESULTS.exists() else []
    used = ", ".join([versions(), *(f"{n} {importlib.metadata.version(n)}" for n in ("onnxruntime", "pillow"))])
    facts = {"versions": used, "machine": machine()}
    kept = [row for row in rows if row["part"] != part]
    kept += [{"part": part, "what": what, "value": f"{value:.4g}", **facts} for what, value in found.items()]
    kept.sort(key=lambda row: list(PARTS).index(row["part"]))
    with RESULTS.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, ["part", "what", "value", *facts], lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)


def main() -> None:
    """Measure some parts, write their rows and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="try the script: tiny amounts, nothing is written")
    arguments = parser.parse_args()
    for part in arguments.parts:
        with tempfile.TemporaryDirectory(prefix="limbeck-speed-") as place:
            try:
                found = PARTS[part](Path(place), QUICK if arguments.quick else FULL)
            except LimbeckError as error:
                sys.exit(str(error))
        if not arguments.quick:
            write(part, found)
        for what, value in found.items():
            print(f"{part:10}{what:105}{value:10.4g}", flush=True)


if __name__ == "__main__":
    main()
