"""Residual blocks of teachers and students: ordinary ones, ones that halve the picture, ones that double it.

Their parts have torchvision's names, so that published checkpoints fit.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["EXPANSION", "Basic", "Bottleneck", "conv", "stage", "start"]

EXPANSION = {"basic": 1, "bottleneck": 4}  # channels that leave a block, for each of its planes


def conv(channels_in: int, channels_out: int, size: int, change: str = "same") -> nn.Module:
    """Return a convolution without bias that keeps ("same"), halves ("down") or doubles ("up") height and width.

    Doubling is a transposed 2 × 2 convolution: no pixel is written twice, so there is no checkerboard.
    """
    if change == "up":
        return nn.ConvTranspose2d(channels_in, channels_out, 2, 2, bias=False)
    return nn.Conv2d(channels_in, channels_out, size, 2 if change == "down" else 1, size // 2, bias=False)


class Basic(nn.Module):
    """Two 3 × 3 convolutions and a shortcut; the first one changes the size.

    He et al., "Deep residual learning for image recognition", CVPR 2016.
    """

    def __init__(self, channels_in: int, channels_out: int, change: str, width: int = 1) -> None:
        super().__init__()
        self.conv1 = conv(channels_in, channels_out, 3, change)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = conv(channels_out, channels_out, 3)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.downsample = _shortcut(channels_in, channels_out, change)

    def forward(self, x: Tensor) -> Tensor:
        """Return features that are not negative."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)) + self.downsample(x), inplace=True)


class Bottleneck(nn.Module):
    """A 1 × 1, a 3 × 3 (or transposed 2 × 2) and a 1 × 1 convolution and a shortcut; the middle one changes the size.

    Zagoruyko and Komodakis, "Wide residual networks", BMVC 2016, for `width` 2.
    """

    def __init__(self, channels_in: int, channels_out: int, change: str, width: int = 1) -> None:
        super().__init__()
        inner = channels_out // EXPANSION["bottleneck"] * width
        self.conv1 = conv(channels_in, inner, 1)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = conv(inner, inner, 3, change)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = conv(inner, channels_out, 1)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.downsample = _shortcut(channels_in, channels_out, change)

    def forward(self, x: Tensor) -> Tensor:
        """Return features that are not negative."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x), inplace=True)


BLOCKS: dict[str, type[Basic] | type[Bottleneck]] = {"basic": Basic, "bottleneck": Bottleneck}


def stage(
    block: str, channels_in: int, channels_out: int, blocks: int, changes: tuple[str, ...], width: int = 1
) -> nn.Sequential:
    """Return some blocks in a row; the first ones change the size, one for each entry of `changes`."""
    made = BLOCKS[block]
    kinds = changes + ("same",) * (blocks - len(changes))
    return nn.Sequential(
        *(made(channels_in if i == 0 else channels_out, channels_out, kind, width) for i, kind in enumerate(kinds))
    )


def start(module: nn.Module) -> None:
    """Draw the first weights: ordinary convolutions by He's rule; transposed ones keep torch's, as the authors' do."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")


def _shortcut(channels_in: int, channels_out: int, change: str) -> nn.Module:
    if change == "same" and channels_in == channels_out:
        return nn.Identity()
    return nn.Sequential(conv(channels_in, channels_out, 1, change), nn.BatchNorm2d(channels_out))
