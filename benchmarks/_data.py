"""The real data sets and their fixed splits; the only reader of the folder in LIMBECK_DATA."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import polars as pl

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
