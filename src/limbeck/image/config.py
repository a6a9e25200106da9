"""Configuration of the methods for pictures; readable without torch."""

from __future__ import annotations

from dataclasses import dataclass

from limbeck.config import at_least, between, knob, one_of, share

__all__ = ["ReverseDistillationConfig"]


@dataclass(frozen=True)
class ReverseDistillationConfig:
    """Every knob of reverse distillation."""

    # the teacher
    backbone: str = knob("efficientnet-lite0", "the frozen teacher: a key of `limbeck.image.backbones.ARCHITECTURES`")
    weights: str = knob("", "its weights: a file; empty = an installed package, the cache or a download")
    taps: tuple[str, ...] = knob(
        (), "modules whose outputs are re-created, shallow to deep; empty = the backbone's own"
    )
    size: int = knob(256, "height and width that a picture is resized to, in pixels", between(32, 2048))

    # the student
    squeeze: bool = knob(False, "a 1 x 1 convolution after the fusion, as in the paper's figure but not in its code")
    blocks: tuple[str, ...] = knob(
        (), "blocks of the embedding and of each decoder stage, deep to shallow; empty = as the backbone"
    )
    code: float = knob(0.0, "channels of the code relative to the deepest tap's; 0 = as the backbone", between(0, 4))
    halved: str = knob(
        "auto",
        "whether the code has half the deepest tap's size: yes, no, or auto = as the backbone",
        one_of("auto", "yes", "no"),
    )
    dropout: float = knob(0.0, "share of the embedding's channels dropped while learning", between(0, 0.9))

    # learning
    loss: str = knob("global", "distance of features: global, local or l2norm", one_of("global", "local", "l2norm"))
    mining: str = knob("none", "places that count less: none, zscore or quantile", one_of("none", "zscore", "quantile"))
    mining_level: float = knob(0.9, "of mining: standard deviations above the mean, or a quantile", between(-10, 10))
    mining_factor: float = knob(0.1, "of mining: what is left of an easy place's gradient", share)
    steps: int = knob(1500, "batches to learn from", at_least(1))
    batch: int = knob(16, "pictures in a step", at_least(2))
    rate: float = knob(0.005, "learning rate of Adam", between(1e-6, 1))
    decay: float = knob(0.0, "weight decay of AdamW", between(0, 1))
    schedule: str = knob("cosine", "of the rate: constant or cosine", one_of("constant", "cosine"))

    # the map and its score
    footing: str = knob(
        "mean",
        "how scales are put on one footing before they are added: by the mean or quantiles of normal pixels, or none",
        one_of("mean", "quantile", "none"),
    )
    sigma: float = knob(4.0, "standard deviation of the map's smoothing, in pixels", between(0, 64))
    score: str = knob(
        "max",
        "of a picture: max of its map, top: mean of its highest 1 %, or mean: of all its pixels",
        one_of("max", "top", "mean"),
    )
    held_out: float = knob(
        0.1, "share of the pictures kept from learning, to put the scales on one footing", between(0, 0.5)
    )

    # the work
    cache_gb: float = knob(10.0, "most gigabytes of the teacher's features on disk", at_least(0))
    checkpoint: float = knob(60.0, "seconds between checkpoints", at_least(0))
