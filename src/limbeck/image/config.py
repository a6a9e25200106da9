"""Configuration of the methods for pictures; readable without torch."""

from __future__ import annotations

from dataclasses import dataclass

from limbeck.config import at_least, automatic_or, between, knob, one_of, share

__all__ = [
    "CompactConfig",
    "CrossDomainConfig",
    "PictureConfig",
    "ResidualAttentionConfig",
    "ReverseDistillationConfig",
]

PRESETS = (
    "full = as the backbone; light = one student, its code half as large, of thrifty convolutions; nano = light, and "
    "the encoder made narrower until a picture takes 0.3 G multiply-adds"
)


@dataclass(frozen=True)
class PictureConfig:
    """What the methods for pictures have in common."""

    # the teacher
    backbone: str = knob("efficientnet-lite0", "the frozen teacher: a key of `limbeck.image.backbones.ARCHITECTURES`")
    weights: str = knob("", "its weights: a file; empty = an installed package, the cache or a download")
    taps: tuple[str, ...] = knob((), "modules whose outputs are matched, shallow to deep; empty = the backbone's own")
    size: int = knob(256, "height and width that a picture is resized to, in pixels", between(32, 2048))

    # learning
    loss: str = knob("global", "distance of features: global, local or l2norm", one_of("global", "local", "l2norm"))
    steps: int = knob(800, "batches to learn from", at_least(1))
    batch: int = knob(16, "pictures in a step", at_least(2))
    optimiser: str = knob("adam", "adam (AdamW, betas 0.5 and 0.999) or sgd (momentum 0.9)", one_of("adam", "sgd"))
    rate: float = knob(0.005, "learning rate", between(1e-6, 1))
    decay: float = knob(0.0, "weight decay", between(0, 1))
    schedule: str = knob("cosine", "of the rate: constant or cosine", one_of("constant", "cosine"))
    keep: str = knob(
        "last",
        "the weights that are kept: the last, or the best = lowest loss of the pictures held out",
        one_of("last", "best"),
    )

    # the map and its score
    measure: str = knob(
        "relative",
        "how far features and their re-creation are apart: cosine, or relative to how far features are from the usual",
        one_of("relative", "cosine"),
    )
    footing: str = knob(
        "mean",
        "how scales are put on one footing before they are combined: by mean or quantiles of normal pixels, or none",
        one_of("mean", "quantile", "none"),
    )
    combine: str = knob("sum", "of the scales: their sum or their product", one_of("sum", "product"))
    sigma: float = knob(4.0, "standard deviation of the map's smoothing, in pixels", between(0, 64))
    score: str = knob(
        "max",
        "of a picture: max of its map, top: mean of its highest 1 %, or mean: of all its pixels",
        one_of("max", "top", "mean"),
    )
    held_out: float = knob(
        0.1, "share of the pictures kept from learning: for the footing, and for `keep=best`", between(0, 0.5)
    )

    # the work
    cache_gb: float = knob(10.0, "most gigabytes of the teacher's features on disk", at_least(0))
    checkpoint: float = knob(60.0, "seconds between checkpoints", at_least(0))


@dataclass(frozen=True)
class ReverseDistillationConfig(PictureConfig):
    """Every knob of reverse distillation."""

    # what a picture may cost
    preset: str = knob("full", PRESETS, one_of("full", "light", "nano"))
    budget: float = knob(
        0.0, "most multiply-adds for a picture, in G: the teacher is made narrower until it fits; 0 = as the preset",
        automatic_or(between(1e-3, 1e3)),
    )  # fmt: skip
    narrowed_on: int = knob(192, "pictures on which it is made narrower, and as many with drawn defects", at_least(8))

    # the student
    squeeze: bool = knob(False, "a 1 x 1 convolution after the fusion, as in the paper's figure but not in its code")
    blocks: tuple[str, ...] = knob(
        (), "blocks of the embedding and of each decoder stage, deep to shallow; empty = as the backbone"
    )
    code: float = knob(0.0, "channels of the code relative to the deepest tap's; 0 = as the backbone", between(0, 4))
    halved: str = knob(
        "auto",
        "whether the code has half the deepest tap's size: yes, no, both = two students, or auto = as preset and "
        "backbone",
        one_of("auto", "yes", "no", "both"),
    )
    fusion: str = knob(
        "auto",
        "convolutions that bring the scales together: dense, thrifty = each channel alone, then all at each place, or "
        "auto = as the preset",
        one_of("auto", "dense", "thrifty"),
    )
    dropout: float = knob(0.0, "share of the embedding's channels dropped while learning", between(0, 0.9))

    # the map
    finest: float = knob(
        0.0, "weight of the map's finest scale beside each other one; 0 = as the preset: 2 for light, 1 for the rest",
        automatic_or(between(0.01, 100)),
    )  # fmt: skip
    local: float = knob(
        0.0,
        "of measure=relative: how much the place itself counts in what is usual there, beside the whole picture; less "
        "shows large defects whole; 0 = as the preset: 0.25 for nano, 0.5 for the rest",
        automatic_or(between(0.01, 1)),
    )

    # what it is told
    mix: float = knob(0.75, "share of the pictures that get patches of others, which it is not to re-create", share)
    mining: str = knob("none", "places that count less: none, zscore or quantile", one_of("none", "zscore", "quantile"))
    mining_level: float = knob(0.9, "of mining: standard deviations above the mean, or a quantile", between(-10, 10))
    mining_factor: float = knob(0.1, "of mining: what is left of an easy place's gradient", share)


@dataclass(frozen=True)
class CrossDomainConfig(ReverseDistillationConfig):
    """Every knob of cross-domain distillation."""

    # the domains
    policy: str = knob(
        "others",
        "division: others = each domain is all but a part of the pictures; random = a part; trim = a part, without its "
        "suspects; share = the suspects are split, the rest is in every domain",
        one_of("others", "random", "trim", "share"),
    )
    domains: int = knob(4, "domains, each with a student of its own", between(2, 16))
    order: str = knob(
        "first",
        "first = the domains' students learn to the end, then the global one; turns = all take their steps in turn",
        one_of("first", "turns"),
    )
    suspects: float = knob(
        0.0,
        "share of the pictures that is suspected, in the end; 0 = those that stand out by `deviations`",
        automatic_or(between(0, 0.9)),
    )
    suspects_first: float = knob(0.5, "share that is suspected at first, where there is one", between(0, 0.9))
    deviations: float = knob(
        2.0, "robust standard deviations above the median from which on a picture stands out", between(0, 100)
    )
    judge: str = knob(
        "rare",
        "who suspects: rare = what students outside of a picture's domain find strange in it, and hardly any other "
        "picture has; outside = those students; memory = of the teacher's features; global = the global student "
        "(order=turns)",
        one_of("rare", "outside", "memory", "global"),
    )
    repeated: float = knob(
        0.0075,
        "of judge=rare: share of the other pictures, at least three, in which a strange place is looked for",
        between(1e-6, 1),
    )
    domain_steps: int = knob(300, "most steps of the domains' students, with order=first", at_least(1))
    warm_up: float = knob(0.1, "share of the steps before the first division: nobody is suspected until then", share)
    divisions: int = knob(4, "how often the pictures are divided, evenly after the warm-up", at_least(1))
    domain_students: str = knob(
        "small", "students of the domains: small, or the same as the global one", one_of("small", "same")
    )

    # what the global student is told
    aggregate: str = knob(
        "mean",
        "of the domains' students: mean, median of each place, or agreement",
        one_of("mean", "median", "agreement"),
    )
    confident: str = knob(
        "teacher",
        "what is wanted of a picture that is no suspect: its pseudo-normal features, its own (teacher), or fading "
        "from its own to the pseudo-normal ones",
        one_of("pseudo", "teacher", "fading"),
    )

    # how wide the global student is
    narrow: float = knob(
        0.25,
        "where pictures rank alike whether or not the students that judge them saw them, the global student has "
        "preset=light and a code of so many channels, relative to the deepest tap's; asked with order=first and "
        "policy=others or random, unless preset, code or halved is set; 0 = never",
        automatic_or(between(0.01, 1)),
    )
    alike: float = knob(0.9, "rank correlation from which on they rank alike", between(-1, 1))
    channels: bool = knob(
        True,
        "where they do not, and the student is wide: whether a channel counts the less in its map, the worse students "
        "foresee it in pictures that they never saw, or all count the same",
    )

    # what is usual
    typical: float = knob(
        0.1,
        "share of the pictures that learning took least for anomalies, sixteen at least: the mean of their features is "
        "what the map holds to be usual; 0 = that of the pictures held out",
        between(0, 1),
    )

    # the suspicion list
    shown: int = knob(24, "most suspicious pictures that the package keeps, small, for its report", between(0, 1000))


@dataclass(frozen=True)
class ResidualAttentionConfig(PictureConfig):
    """Every knob of pyramid matching with residual attention."""

    loss: str = knob("l2norm", "distance of features: global, local or l2norm", one_of("global", "local", "l2norm"))
    steps: int = knob(600, "batches to learn from", at_least(1))
    batch: int = knob(8, "pictures in a step", at_least(2))
    keep: str = knob(
        "best",
        "the weights that are kept: the last, or the best = lowest loss of the pictures held out",
        one_of("last", "best"),
    )
    held_out: float = knob(
        0.2, "share of the pictures kept from learning: for the footing, and for `keep=best`", between(0, 0.5)
    )

    measure: str = knob(
        "cosine",
        "how far features and their re-creation are apart: cosine, or relative to how far features are from the usual",
        one_of("relative", "cosine"),
    )

    # the student
    student: str = knob(
        "same", "topology: the same as the teacher's, or narrow (16 channels)", one_of("same", "narrow")
    )
    attention: str = knob(
        "residual",
        "gate on each tap: residual (the next stage sees it), after (matched alone), or none",
        one_of("residual", "after", "none"),
    )
    mask_unit: str = knob(
        "bottleneck",
        "residual unit of the mask branch: bottleneck (a quarter of the channels inside) or basic (all of them)",
        one_of("bottleneck", "basic"),
    )
    mask_start: str = knob(
        "zero",
        "last convolution of the mask branch at the start: zero (all gains 1.5) or random",
        one_of("zero", "random"),
    )

    # what it is told
    squares: float = knob(0.0, "weight of the mean squared difference beside the distance", at_least(0))


@dataclass(frozen=True)
class CompactConfig(ReverseDistillationConfig):
    """Every knob of a compact student of detectors of pictures."""

    # what a picture may cost
    preset: str = knob("nano", PRESETS, one_of("full", "light", "nano"))

    # what is asked of its map
    measure: str = knob(
        "relative", "how far features and their re-creation are apart: channels can be weighed", one_of("relative")
    )
    combine: str = knob("sum", "of the scales", one_of("sum"))

    # what it hears from the detectors
    heard: int = knob(
        256, "pictures of which they give maps; as many with drawn defects, strong and faded", at_least(8)
    )
    faintest: float = knob(0.15, "strength of the faintest drawn defect", share)
    channels: bool = knob(True, "whether each channel of the features is weighed, or all count the same")
    even: float = knob(0.3, "how strongly the weights of channels are held near each other", at_least(0))
    weigh_steps: int = knob(400, "optimiser steps in which the weights are learned", at_least(1))
    weigh_rate: float = knob(0.02, "learning rate of the weights' logarithms", between(1e-6, 1))
    hard: float = knob(0.0, "weight of the hardest 2 % of a map's places, beside all of them", at_least(0))
