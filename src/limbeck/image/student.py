"""A student that re-creates a teacher's features from one compact code: fusion, one-class embedding, decoder.

Built from what the teacher says of itself, the channels and strides of its taps and the kind of its blocks, never from
its name. The code is all that reaches the decoder: no picture, no skip connection. It has room for what is normal.

Deng and Li, "Anomaly detection via reverse distillation from one-class embedding", CVPR 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from limbeck.errors import ConfigError
from limbeck.image.backbones import Architecture, Tap
from limbeck.image.blocks import conv, stage, start

__all__ = ["Student", "Students", "depths_of"]


def depths_of(architecture: Architecture, taps: int) -> tuple[int, ...]:
    """Return the blocks of the embedding and of each decoder stage, deep to shallow, for so many taps.

    The embedding has as many as the teacher's next stage; the decoder has the counts of the teacher's stages in their
    order, so that its deepest stage has what the teacher's shallowest has (3, 4, 6 and not 6, 4, 3), as in the authors'
    code.
    """
    stages = architecture.depths
    return stages[-1], *(stages[min(k, len(stages) - 1)] for k in range(taps))


class Student(nn.Module):
    """Teacher's features in, their re-creation out; both shallow to deep.

    Parameters
    ----------
    taps : sequence of Tap
        Of the teacher, shallow to deep.
    block : str
        "basic" or "bottleneck".
    inner : int
        Inner width of a bottleneck block relative to its planes.
    depths : sequence of int
        Blocks of the embedding and of each decoder stage, deep to shallow.
    code : float
        Channels of the code, relative to the deepest tap's; 2 is the paper's.
    halved : bool
        Whether the code has half the deepest tap's height and width, as in the paper, or the same.
    signed : bool
        Whether the teacher's features may be negative: each scale then ends in a linear 1 × 1 convolution.
    squeeze : bool
        Whether a 1 × 1 convolution follows the fusion: in the paper's figure, not in its code.
    dropout : float
        Share of the code's channels dropped while learning.
    thrifty : bool
        Whether the fusion filters each channel alone, then mixes them at each place (Howard et al., "MobileNets", arXiv
        1704.04861), instead of both at once.
    """

    def __init__(
        self,
        taps: Sequence[Tap],
        block: str = "basic",
        inner: int = 1,
        depths: Sequence[int] = (2, 2, 2, 2),
        *,
        code: float = 2.0,
        halved: bool = True,
        signed: bool = False,
        squeeze: bool = False,
        dropout: float = 0.0,
        thrifty: bool = False,
    ) -> None:
        super().__init__()
        deepest = taps[-1].channels
        fused, channels = deepest * len(taps), max(8, round(code * deepest / 8) * 8)
        self.fusion = nn.ModuleList(_down(taps[k:], thrifty) for k in range(len(taps)))
        self.squeeze = nn.Sequential(*_halved(fused, fused // 2, "same", 1)) if squeeze else nn.Identity()
        self.embedding = stage(block, fused // 2 if squeeze else fused, channels, depths[0], ("down",) * halved, inner)
        self.dropout = nn.Dropout2d(dropout)
        self.decoder = nn.ModuleList()
        self.heads = nn.ModuleList(nn.Conv2d(t.channels, t.channels, 1) if signed else nn.Identity() for t in taps)
        stride = taps[-1].stride * (1 + halved)
        for tap, blocks in zip(reversed(taps), depths[1:], strict=True):
            changes = ("up",) * _halvings(tap.stride, stride)
            self.decoder.append(stage(block, channels, tap.channels, max(blocks, len(changes)), changes, inner))
            channels, stride = tap.channels, tap.stride
        start(self)

    def fuse(self, features: Sequence[Tensor]) -> Tensor:
        """Bring every scale to the deepest one's size and lay them beside each other."""
        fused = torch.cat([path(f) for path, f in zip(self.fusion, features, strict=True)], 1)
        squeezed: Tensor = self.squeeze(fused)
        return squeezed

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return the features as they would be if the picture were normal."""
        x = self.dropout(self.embedding(self.fuse(features)))
        outputs = []
        for part in self.decoder:
            x = part(x)
            outputs.append(x)
        return [head(output) for head, output in zip(self.heads, reversed(outputs), strict=True)]


class Students(nn.ModuleList):
    """Students of one teacher, each with a code of its own: one after another they re-create the same features."""

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return what the first makes of the features, shallow to deep, then the second, and so on."""
        return [output for student in self for output in student(features)]


def _down(taps: Sequence[Tap], thrifty: bool) -> nn.Sequential:
    """Return the way from the first of some taps to the last one's size, through the channels of those between."""
    layers: list[nn.Module] = []
    for tap, following in pairwise(taps):
        halvings = _halvings(tap.stride, following.stride)
        channels = [tap.channels] * max(1, halvings) + [following.channels]
        for step, (channels_in, channels_out) in enumerate(pairwise(channels)):
            change = "down" if step < halvings else "same"
            if thrifty:
                layers.append(_filter(channels_in, change))
                layers += _halved(channels_in, channels_out, "same", 1)
            else:
                layers += _halved(channels_in, channels_out, change, 3)
    return nn.Sequential(*layers)


def _halved(channels_in: int, channels_out: int, change: str, size: int) -> list[nn.Module]:
    return [conv(channels_in, channels_out, size, change), nn.BatchNorm2d(channels_out), nn.ReLU()]


def _filter(channels: int, change: str) -> nn.Module:
    """Return a 3 × 3 convolution of each channel alone."""
    return nn.Conv2d(channels, channels, 3, 2 if change == "down" else 1, 1, groups=channels, bias=False)


def _halvings(stride: int, following: int) -> int:
    """Return how often the size halves from one stride to another."""
    halvings = (following // stride).bit_length() - 1
    if stride << halvings != following:
        raise ConfigError(
            "the taps' strides do not fit each other",
            expected="each twice, four times, ... the one before, or the same",
            got=f"{stride}, then {following}",
        )
    return halvings
