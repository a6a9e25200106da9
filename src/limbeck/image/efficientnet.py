"""EfficientNet-Lite as a chain of steps, keys as in the published PyTorch conversions of the TensorFlow checkpoints.

Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks", ICML 2019; the Lite variants
drop squeeze-and-excitation, use ReLU6 and keep stem and head unscaled.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["LiteBlock", "LitePlan", "lite_plan", "lite_steps"]

STEM = 32
EPSILON = 1e-3
#         repeats, kernel, stride, expansion, channels
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip


@dataclass(frozen=True)
class LitePlan:
    """The sizes of one block."""

    inputs: int
    outputs: int
    kernel: int
    stride: int
    expansion: int


def lite_plan(width: float, depth: float) -> tuple[LitePlan, ...]:
    """List the blocks of a Lite network, shallow to deep.

    Parameters
    ----------
    width, depth : float
        Factors on the channels and on the repeats; the stem, and the repeats of the first and last stage, keep theirs.

    Returns
    -------
    tuple of LitePlan
        One a block.

    Examples
    --------
    >>> [len(lite_plan(*factors)) for factors in ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2))]
    [16, 21, 21]
    """
    plan: list[LitePlan] = []
    inputs = STEM
    for i, (repeats, kernel, stride, expansion, channels) in enumerate(STAGES):
        outputs = _round_to_eight(channels * width)
        fixed = i in (0, len(STAGES) - 1)
        for j in range(repeats if fixed else math.ceil(repeats * depth)):
            plan.append(LitePlan(inputs, outputs, kernel, stride if j == 0 else 1, expansion))
            inputs = outputs
    return tuple(plan)


def _round_to_eight(channels: float) -> int:
    """Return the nearest multiple of 8, the next one up where that would lose more than a tenth."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def lite_steps(plan: tuple[LitePlan, ...]) -> Iterator[tuple[str, nn.Module]]:
    """Yield the path and the module of each step, shallow to deep, each built when it is asked for."""
    yield "_pad_stem", _SamePadding(3, 2)
    yield "_conv_stem", nn.Conv2d(3, STEM, 3, stride=2, bias=False)
    yield "_bn0", _norm(STEM)
    yield "_relu", nn.ReLU6(inplace=True)
    for i, sizes in enumerate(plan):
        yield f"_blocks.{i}", LiteBlock(sizes)


class LiteBlock(nn.Module):
    """Widen (1×1), filter each channel (k×k), narrow (1×1, linear); the input is added where the shapes agree."""

    def __init__(self, sizes: LitePlan) -> None:
        super().__init__()
        wide = sizes.inputs * sizes.expansion
        self.expands = sizes.expansion != 1
        self.adds = sizes.stride == 1 and sizes.inputs == sizes.outputs
        if self.expands:
            self._expand_conv = nn.Conv2d(sizes.inputs, wide, 1, bias=False)
            self._bn0 = _norm(wide)
        even = sizes.stride == 1  # then "same" padding does not depend on the picture's size
        self._pad = nn.Identity() if even else _SamePadding(sizes.kernel, sizes.stride)
        self._depthwise_conv = nn.Conv2d(
            wide, wide, sizes.kernel, sizes.stride, sizes.kernel // 2 if even else 0, groups=wide, bias=False
        )
        self._bn1 = _norm(wide)
        self._project_conv = nn.Conv2d(wide, sizes.outputs, 1, bias=False)
        self._bn2 = _norm(sizes.outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, outputs, ⌈h / stride⌉, ⌈w / stride⌉) of (n, inputs, h, w)."""
        y: Tensor = F.relu6(self._bn0(self._expand_conv(x)), inplace=True) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(self._pad(y))), inplace=True)
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds else y


class _SamePadding(nn.Module):
    """TensorFlow's "same" padding of the actual input: ⌈size / stride⌉ outputs, an odd pixel below and to the right."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """Return the input with a border of zeros."""
        left, right = self._borders(x.shape[3])
        top, bottom = self._borders(x.shape[2])
        return F.pad(x, (left, right, top, bottom))

    def _borders(self, size: int) -> tuple[int, int]:
        total = max(0, (math.ceil(size / self.stride) - 1) * self.stride + self.kernel - size)
        return total // 2, total - total // 2


def _norm(channels: int) -> nn.BatchNorm2d:
    # The authors let the running statistics move by a hundredth a step, for runs of 100,000 steps. A student learns for
    # hundreds: it would be used with statistics of weights that it no longer has.
    return nn.BatchNorm2d(channels, eps=EPSILON)
