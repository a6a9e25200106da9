"""The real data sets and their fixed splits; the only reader of the folder in LIMBECK_DATA."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image
from sklearn.model_selection import StratifiedKFold

FOLDER = Path(os.environ.get("LIMBECK_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
KDD_COLUMNS = (
    "duration protocol_type service flag src_bytes dst_bytes land wrong_fragment urgent hot num_failed_logins "
    "logged_in num_compromised root_shell su_attempted num_root num_file_creations num_shells num_access_files "
    "num_outbound_cmds is_host_login is_guest_login count srv_count serror_rate srv_serror_rate rerror_rate "
    "srv_rerror_rate same_srv_rate diff_srv_rate srv_diff_host_rate dst_host_count dst_host_srv_count "
    "dst_host_same_srv_rate dst_host_diff_srv_rate dst_host_same_src_port_rate dst_host_srv_diff_host_rate "
    "dst_host_serror_rate dst_host_srv_serror_rate dst_host_rerror_rate dst_host_srv_rerror_rate label"
).split()


def available() -> bool:
    """Say whether the data are there."""
    return (FOLDER / "tabular").is_dir()


def split(y: np.ndarray, test: float, seed: int) -> np.ndarray:
    """Choose the test rows: the same share of each class."""
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(y), dtype=bool)
    for value in np.unique(y):
        rows = np.flatnonzero(y == value)
        chosen[rng.permutation(rows)[: round(test * len(rows))]] = True
    return chosen


def creditcard_sample(seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """ULB credit-card fraud, all 492 frauds and 20,000 normal rows: 70/30, label `fraud`."""
    with np.load(FOLDER / "tabular" / "creditcard_sample_20492.npz", allow_pickle=False) as arrays:
        frame = pl.DataFrame(arrays["X"], schema=[str(c) for c in arrays["columns"]])
        y = arrays["y"]
    frame = frame.with_columns(fraud=pl.Series(y))
    test = split(y, 0.3, seed)
    return frame.filter(pl.Series(~test)), frame.filter(pl.Series(test))


def nsl_kdd() -> tuple[pl.DataFrame, pl.DataFrame]:
    """NSL-KDD's official split: KDDTrain+_20Percent and KDDTest+, whose attacks are partly new; label `label`."""
    frames = []
    with zipfile.ZipFile(FOLDER / "tabular" / "nsl_kdd.zip") as archive:
        for name in ("nsl_kdd/KDDTrain+_20Percent.txt", "nsl_kdd/KDDTest+.txt"):
            frame = pl.read_csv(archive.read(name), has_header=False, infer_schema_length=None)
            frames.append(frame.drop(frame.columns[-1]).rename(dict(zip(frame.columns, KDD_COLUMNS, strict=False))))
    return frames[0], frames[1]


@dataclass(frozen=True)
class Split:
    """Rows to learn from and rows to test on; `label` is a column of both."""

    train: pl.DataFrame
    test: pl.DataFrame
    label: str = "label"
    fold: int = 0


TON_IOT = {
    "fridge": "Fridge",
    "gps": "GPS_Tracker",
    "modbus": "Modbus",
    "thermostat": "Thermostat",
    "weather": "Weather",
}  # garage door and motion light have under 20 distinct rows
ADBENCH = ("mammography", "shuttle", "campaign", "thyroid", "satellite")
SETS = (
    "credit card",
    *ADBENCH,
    "NSL-KDD",
    *(f"TON-IoT {name}" for name in TON_IOT),
    "KDD99, 1 % attacks",
    "HYPERAKTIV",
    "KDD99",
)


def splits(name: str, seed: int) -> Iterator[Split]:
    """Yield the splits of a set for a seed: stratified fifths; the first of them, but for the card set with seed 0.

    NSL-KDD's split is the official one. HYPERAKTIV has a person a row; all five fifths are yielded.
    """
    if name == "NSL-KDD":
        yield Split(*nsl_kdd())
        return
    frame, label = _table(name, seed)
    positive = frame[label].cast(pl.String).is_in(["0", "normal."]).not_().to_numpy()
    folds = StratifiedKFold(5, shuffle=True, random_state=seed).split(positive, positive)
    for fold, (train, test) in enumerate(folds):
        if fold == 0 or (name == "credit card" and seed == 0) or name == "HYPERAKTIV":
            yield Split(frame[train], frame[test], label, fold)


@dataclass(frozen=True)
class Domains:
    """A table to learn from, and another like it, in the same columns; the label is `label`."""

    source: pl.DataFrame
    target: pl.DataFrame  # rows to adapt with
    test: pl.DataFrame  # of the target's domain
    new: np.ndarray | None = None  # (n,) test rows that are normal, or attacks of types that neither table has


DOMAINS = {"fridge to thermostat": 2, "thermostat to fridge": 2, "weather to thermostat": 1}  # columns in common


def domains(name: str, rows: int, seed: int) -> Domains:
    """Return two domains, at most so many rows of each; of the second's test rows all.

    "KDD99 to NSL-KDD": with 1 % attacks, to 20 % of the training rows with their 47 %. Between devices of TON-IoT the
    columns in common are a temperature and whether the device is on, which for a fridge is a temperature called high.
    """
    if name == "KDD99 to NSL-KDD":
        source, _ = _table("KDD99, 1 % attacks", seed)
        target, test = nsl_kdd()
        every, _ = _table("KDD99", seed)
        known = {t.rstrip(".") for t in (*every["label"].unique(), *target["label"].unique())}
        new = test["label"].is_in(sorted(known - {"normal"})).not_().to_numpy()
        binary = pl.col("label").str.strip_chars_end(".").ne("normal").cast(pl.Int8)
        source, target, test = (frame.with_columns(binary) for frame in (source, target, test))
        return Domains(_some(source, rows, seed), _some(target, rows, seed), test, new)
    here, there = (_device(part, DOMAINS[name]) for part in name.split(" to "))
    held = split(there["label"].to_numpy(), 0.2, seed)
    target, test = there.filter(pl.Series(~held)), there.filter(pl.Series(held))
    return Domains(_some(here, rows, seed), _some(target, rows, seed), test)


def _some(frame: pl.DataFrame, rows: int, seed: int) -> pl.DataFrame:
    return frame.sample(min(rows, len(frame)), seed=seed)


def _device(part: str, columns: int) -> pl.DataFrame:
    """Return a device's temperature, whether it is on where that is a column too, and the label."""
    frame = _ton_iot(TON_IOT[part])
    first = frame.columns[0]
    on = {"fridge": pl.col("temp_condition") == "high", "thermostat": pl.col("thermostat_status") == 1}
    parts = [pl.col(first).alias("temperature"), *([on[part].alias("on")] if columns == 2 else []), pl.col("label")]
    return frame.select(parts)


def adbench_sets() -> dict[str, str]:
    """Return the sets of the ADBench archive and their places in it: the classical ones, then MVTec AD's features."""
    with zipfile.ZipFile(_adbench()) as archive:
        files = [Path(file) for file in archive.namelist() if file.endswith(".npz")]
    named = {
        ("MVTec " if file.stem.startswith("MVTec") else "") + file.stem.partition("_")[2]: file.as_posix()
        for file in files
    }  # 12_fault, MVTec-AD_bottle
    return {name: named[name] for name in sorted(named, key=lambda name: (name.startswith("MVTec"), name.casefold()))}


def adbench(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Read a set of the ADBench archive: rows, float64 (n, d), and labels, int8 (n,)."""
    with zipfile.ZipFile(_adbench()) as archive:
        with archive.open(adbench_sets()[name]) as handle, np.load(handle, allow_pickle=False) as arrays:
            return np.asarray(arrays["X"], dtype=np.float64), arrays["y"].astype(np.int8).ravel()


def _adbench() -> Path:
    return FOLDER / "tabular" / "adbench_small.zip"


def _table(name: str, seed: int) -> tuple[pl.DataFrame, str]:
    folder = FOLDER / "tabular"
    if name == "credit card":
        with np.load(folder / "creditcard_float32.npz", allow_pickle=False) as arrays:
            frame = pl.DataFrame(arrays["X"], schema=[str(c) for c in arrays["columns"]])
            return frame.with_columns(fraud=pl.Series(arrays["y"])), "fraud"
    if name in ADBENCH:
        x, y = adbench(name)
        return pl.DataFrame(x).with_columns(label=pl.Series(y)), "label"
    if name.startswith("TON-IoT"):
        return _ton_iot(TON_IOT[name.split()[1]]), "label"
    if name == "HYPERAKTIV":
        return _hyperaktiv(), "label"
    frame = pl.read_csv(
        folder / "kddcup.data_10_percent.gz", has_header=False, new_columns=KDD_COLUMNS, infer_schema_length=None
    ).unique(maintain_order=True)
    if name == "KDD99, 1 % attacks":
        normal = frame.filter(pl.col("label") == "normal.")
        attacks = frame.filter(pl.col("label") != "normal.")
        frame = pl.concat([normal, attacks.sample(round(len(normal) / 99), seed=seed)])
    return frame, "label"


def _ton_iot(part: str) -> pl.DataFrame:
    """Read one device's telemetry: no date, time or type, texts trimmed, each row once."""
    with zipfile.ZipFile(FOLDER / "tabular" / "ton_iot_telemetry.zip") as archive:
        text = archive.read(f"ton_iot/Train_Test_IoT_{part}.csv")
    frame = pl.read_csv(text, infer_schema_length=None)
    frame = frame.with_columns(pl.col(pl.String).str.strip_chars())
    return frame.drop("date", "time", "type").unique(maintain_order=True)


def _hyperaktiv() -> pl.DataFrame:
    """Read activity features of 64 people of whom a diagnosis is known, one row a person: 32 with ADHD."""
    with zipfile.ZipFile(FOLDER / "tabular" / "hyperaktiv.zip") as archive:
        features = pl.read_csv(archive.read("hyperaktiv/features.csv"), separator=";", infer_schema_length=None)
        people = pl.read_csv(archive.read("hyperaktiv/patient_info.csv"), separator=";", infer_schema_length=None)
    joined = features.join(people.select("ID", label="ADHD"), on="ID", maintain_order="left").drop("ID")
    return joined.select(c for c in joined.columns if joined[c].dtype != pl.String)


PICTURE_SETS = {
    "screw": "mvtec_screw_256",
    "magnetic tile": "magnetic_tile_256",
    "DeepPCB": "deeppcb_256",
    "leather, 4 pictures": "mvtec_leather_mini_384",
}


@dataclass(frozen=True)
class PictureSplit:
    """Two lists of pictures, as `limbeck.fit` and `limbeck.evaluate` take them."""

    train: Path
    test: Path  # with labels, and masks where there are any
    masks: bool


def picture_split(name: str, seed: int, folder: Path) -> PictureSplit:
    """Unpack a set of pictures into a folder, and list those to learn from and those to measure on.

    Screw and leather: their own split. Magnetic tile: 700 of the good ones. DeepPCB: 200 of the pairs, so that both
    pictures of a pair fall on one side; its boxes become masks. Leather's masks do not all match its pictures.
    """
    with zipfile.ZipFile(FOLDER / "images" / f"{PICTURE_SETS[name]}.zip") as archive:
        archive.extractall(folder)
    rng = np.random.default_rng(seed)
    test: list[tuple[Path, str, Path | None]]
    if name == "magnetic tile":
        root = folder / "magnetic_tile"
        good = [sorted((root / "free").iterdir())[i] for i in rng.permutation(952)]
        train, test = good[:700], [(p, "good", None) for p in good[700:]]
        for defect in ("blowhole", "break", "crack", "fray", "uneven"):
            masks = root / "ground_truth" / defect
            test += [(p, defect, masks / f"{p.stem}.png") for p in sorted((root / defect).iterdir())]
    elif name == "DeepPCB":
        root = folder / "deeppcb"
        pairs = sorted(p.name.removesuffix("_temp.jpg") for p in (root / "good").iterdir())
        pairs = [pairs[i] for i in rng.permutation(len(pairs))]
        train = [root / "good" / f"{pair}_temp.jpg" for pair in pairs[:200]]
        test = [(root / "good" / f"{pair}_temp.jpg", "good", None) for pair in pairs[200:]]
        for pair in pairs[200:]:
            mask = _mask_of_boxes(root / "boxes640" / f"{pair}.txt", root / f"{pair}_mask.png")
            test.append((root / "test" / f"{pair}_test.jpg", "defect", mask))
    else:
        root = folder / name.split(",")[0]
        train, test = sorted((root / "train" / "good").iterdir()), []
        for path in sorted((root / "test").glob("*/*.png")):
            mask = root / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"
            test.append((path, path.parent.name, mask if mask.exists() else None))
    lists = folder / "train.txt", folder / "test.txt"
    lists[0].write_text("".join(f"{path}\n" for path in train))
    lists[1].write_text(
        "".join(f"{path}\t{label}" + (f"\t{mask}" if mask else "") + "\n" for path, label, mask in test)
    )
    return PictureSplit(*lists, masks=not name.startswith("leather"))


def _mask_of_boxes(boxes: Path, mask: Path) -> Path:
    """Draw boxes, which are in units of 640 pixels, as a mask of 256."""
    drawn = np.zeros((256, 256), np.uint8)
    for line in boxes.read_text().splitlines():
        if line.strip():
            left, top, right, bottom = (float(v) * 256 / 640 for v in line.replace(",", " ").split()[:4])
            drawn[int(top) : math.ceil(bottom), int(left) : math.ceil(right)] = 255
    Image.fromarray(drawn).save(mask)
    return mask
