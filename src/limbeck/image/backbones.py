"""Networks whose feature pyramids teach: ResNet, WideResNet, VGG and EfficientNet-Lite, in plain torch.

A backbone is described, not named: whoever builds a student or a decoder reads channels and strides from its taps.
Each network is a chain of steps that is built no further than its deepest chosen tap. State-dict keys are those of the
published checkpoints: torchvision's, and for EfficientNet-Lite those of its conversions from TensorFlow.

He et al., "Deep residual learning for image recognition", CVPR 2016; Zagoruyko and Komodakis, "Wide residual
networks", BMVC 2016; Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition",
ICLR 2015.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor, nn

from limbeck.errors import ConfigError
from limbeck.image.blocks import EXPANSION, stage
from limbeck.image.efficientnet import lite_plan, lite_steps

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Backbone",
    "Steps",
    "Tap",
    "build",
    "find_architecture",
]

Steps = Iterator[tuple[str, nn.Module]]  # path and module of each step, shallow to deep, built when asked for
PLANES = (64, 128, 256, 512)


@dataclass(frozen=True)
class Tap:
    """A place where features are taken."""

    name: str  # path of the module whose output it is
    channels: int
    stride: int  # pixels of the picture for one step in the features
    pooled: bool = False  # whether it is a pooling: its channels are those of the stage before


@dataclass(frozen=True)
class Architecture:
    """What there is to know of a network before it is built."""

    name: str
    taps: tuple[Tap, ...]  # that it offers, shallow to deep
    default_taps: tuple[str, ...]  # that reverse distillation takes
    steps: Callable[[], Steps] = field(repr=False, compare=False)
    block: str = "basic"  # residual block of its students: "basic" | "bottleneck"
    inner: int = 1  # inner width of a bottleneck block, relative to its planes
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)  # blocks in each residual stage
    code: float = 2.0  # channels of its students' code, relative to the deepest tap's
    halved: str = "yes"  # whether that code has half the deepest tap's height and width: "yes" | "no" | "both"
    signed: bool = False  # whether features can be negative: whether no ReLU comes right before a tap


class Backbone(nn.Module):
    """A chain of steps, cut off after the deepest tap.

    Parameters
    ----------
    steps : iterator of (str, Module)
        Path and module of each step. Among a module's children a normalisation follows its convolution directly.
    taps : tuple of Tap
        Where features are taken, shallow to deep.
    """

    def __init__(self, steps: Steps, taps: tuple[Tap, ...]) -> None:
        super().__init__()
        self.taps = taps
        self.paths: list[str] = []
        for path, module in steps:
            folder, _, leaf = path.rpartition(".")
            if folder and folder not in self._modules:
                self.add_module(folder, nn.Module())
            self.get_submodule(folder).add_module(leaf, module)
            self.paths.append(path)
            if path == taps[-1].name:
                break

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of each tap, (n, channels, h / stride, w / stride), of normalised pictures (n, 3, h, w).

        Where a size is no multiple of the stride, each halving rounds up (VGG: down).
        """
        wanted = {tap.name for tap in self.taps}
        features = []
        for path in self.paths:
            x = self.get_submodule(path)(x)
            if path in wanted:
                features.append(x)
        return features


def find_architecture(name: str) -> Architecture:
    """Return a network's description, or say which there are."""
    if name not in ARCHITECTURES:
        raise ConfigError(
            f"there is no backbone {name!r}",
            expected="one of " + ", ".join(ARCHITECTURES),
            got=name,
            fix=_nearest(name, list(ARCHITECTURES)),
        )
    return ARCHITECTURES[name]


def build(name: str, taps: Sequence[str] = ()) -> Backbone:
    """Build a network up to its deepest chosen tap, with torch's own first weights.

    Parameters
    ----------
    name : str
        A key of `ARCHITECTURES`.
    taps : sequence of str
        Names of its taps, in any order; none = its default taps.

    Returns
    -------
    Backbone
        In training mode, as torch builds it.

    Raises
    ------
    ConfigError
        If there is no such network or tap, or a tap is named twice.

    Examples
    --------
    >>> [(tap.name, tap.channels, tap.stride) for tap in build("resnet18", ["layer2", "layer1"]).taps]
    [('layer1', 64, 4), ('layer2', 128, 8)]
    """
    architecture = find_architecture(name)
    offered = [tap.name for tap in architecture.taps]
    chosen = list(taps) or list(architecture.default_taps)
    for tap in chosen:
        if tap not in offered:
            raise ConfigError(
                f"{name} has no tap {tap!r}",
                expected="some of " + ", ".join(offered),
                got=str(tap),
                fix=_nearest(str(tap), offered),
            )
    if len(set(chosen)) < len(chosen):
        raise ConfigError("a tap is named twice", expected="different taps", got=", ".join(chosen), fix="name it once")
    return Backbone(architecture.steps(), tuple(tap for tap in architecture.taps if tap.name in chosen))


def _nearest(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return "did you mean " + " or ".join(map(repr, close)) + "?" if close else "choose one of these"


# ResNet and WideResNet


def _resnet_steps(block: str, depths: tuple[int, int, int, int], inner: int) -> Steps:
    yield "conv1", nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
    yield "bn1", nn.BatchNorm2d(64)
    yield "relu", nn.ReLU(inplace=True)
    yield "maxpool", nn.MaxPool2d(3, stride=2, padding=1)
    inputs = 64
    for i, (planes, depth) in enumerate(zip(PLANES, depths, strict=True)):
        outputs = planes * EXPANSION[block]
        yield f"layer{i + 1}", stage(block, inputs, outputs, depth, () if i == 0 else ("down",), inner)
        inputs = outputs


def _resnet(name: str, block: str, depths: tuple[int, int, int, int], inner: int = 1) -> Architecture:
    taps = tuple(Tap(f"layer{i + 1}", planes * EXPANSION[block], 4 * 2**i) for i, planes in enumerate(PLANES))
    steps = partial(_resnet_steps, block, depths, inner)
    return Architecture(name, taps, ("layer1", "layer2", "layer3"), steps, block, inner, depths)


# VGG


def _vgg_plan(repeats: tuple[int, ...], norm: bool) -> list[tuple[str, int, int]]:
    """List kind, channels and stride of each module."""
    plan = []
    unit = ("conv", "norm", "relu") if norm else ("conv", "relu")
    for i, (repeat, channels) in enumerate(zip(repeats, (64, 128, 256, 512, 512), strict=True)):
        plan += [(kind, channels, 2**i) for _ in range(repeat) for kind in unit]
        plan.append(("pool", channels, 2 ** (i + 1)))
    return plan


def _vgg_steps(plan: list[tuple[str, int, int]]) -> Steps:
    inputs = 3
    for i, (kind, channels, _) in enumerate(plan):
        module: nn.Module
        if kind == "conv":
            module = nn.Conv2d(inputs, channels, 3, padding=1)
            inputs = channels
        elif kind == "norm":
            module = nn.BatchNorm2d(channels)
        else:
            module = nn.ReLU(inplace=True) if kind == "relu" else nn.MaxPool2d(2)
        yield f"features.{i}", module


def _vgg(name: str, repeats: tuple[int, ...], norm: bool) -> Architecture:
    """Describe a VGG: its taps are the five poolings and the last ReLU before each."""
    plan = _vgg_plan(repeats, norm)
    pools = [i for i, (kind, _, _) in enumerate(plan) if kind == "pool"]
    taps = tuple(Tap(f"features.{i}", plan[i][1], plan[i][2], i == pool) for pool in pools for i in (pool - 1, pool))
    defaults = tuple(f"features.{pool - 1}" for pool in pools[2:])  # relu3, relu4, relu5: strides 4, 8, 16
    return Architecture(name, taps, defaults, partial(_vgg_steps, plan))


# EfficientNet-Lite


def _lite(name: str, width: float, depth: float) -> Architecture:
    """Describe an EfficientNet-Lite: its taps are the last block at each stride.

    A student of basic blocks would have five times this teacher's parameters: its blocks are bottlenecks, one a stage.
    """
    plan = lite_plan(width, depth)
    last: dict[int, Tap] = {}
    stride = 2  # of the stem
    for i, sizes in enumerate(plan):
        stride *= sizes.stride
        last[stride] = Tap(f"_blocks.{i}", sizes.outputs, stride)
    defaults = tuple(last[stride].name for stride in (8, 16, 32))
    taps, steps = tuple(last.values()), partial(lite_steps, plan)
    return Architecture(
        name, taps, defaults, steps, "bottleneck", depths=(1, 1, 1, 1), code=1.0, halved="both", signed=True
    )


ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        _resnet("resnet18", "basic", (2, 2, 2, 2)),
        _resnet("resnet34", "basic", (3, 4, 6, 3)),
        _resnet("resnet50", "bottleneck", (3, 4, 6, 3)),
        _resnet("wide_resnet50_2", "bottleneck", (3, 4, 6, 3), inner=2),
        _vgg("vgg16", (2, 2, 3, 3, 3), norm=False),
        _vgg("vgg16_bn", (2, 2, 3, 3, 3), norm=True),
        _vgg("vgg19", (2, 2, 4, 4, 4), norm=False),
        _vgg("vgg19_bn", (2, 2, 4, 4, 4), norm=True),
        _lite("efficientnet-lite0", 1.0, 1.0),
        _lite("efficientnet-lite1", 1.0, 1.1),
        _lite("efficientnet-lite2", 1.1, 1.2),
    )
}
