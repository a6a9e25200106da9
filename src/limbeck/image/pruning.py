"""A frozen encoder made narrower on the pictures at hand, so that it fits a budget; nothing is trained.

The blocks of EfficientNet-Lite widen, filter each channel, and narrow again by a linear map. Of the wide channels many
say what others say, all the more where all pictures show the same part: they are taken out one by one, each time the
one whose loss the rest can best make up for, and the linear map is solved anew for what is left, by least squares. What
is asked of pictures of good parts is asked of the same with drawn defects too: what is strange must get through.

Hassibi and Stork, "Second order derivatives for network pruning: optimal brain surgeon", NeurIPS 1992 (which one to
take out, and how the rest changes: exact here, for a narrowing is linear); He, Zhang and Sun, "Channel pruning for
accelerating very deep neural networks", ICCV 2017 (layer by layer, each solved for what the pruned ones before give).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from limbeck.contracts import OnStep, Step, ignore
from limbeck.errors import ConfigError
from limbeck.image.efficientnet import LiteBlock
from limbeck.image.teacher import Teacher

__all__ = ["count_macs", "prune"]

AT_ONCE = 16  # pictures
MULTIPLE = 16  # of channels: what engines take at once
RIDGE = 1e-4  # of the mean variance of the wide channels, on each: channels that say the same leave a matrix singular
HALVINGS = 60  # of the interval in which the price of an operation is sought

Removed = dict[str, int]  # wide channels to take out, by block


def count_macs(module: nn.Module, size: int) -> int:
    """Count the multiply-add operations of convolutions and matrix products for one uint8 picture, (size, size, 3)."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, size, size, 3, dtype=torch.uint8))
    return int(counter.get_total_flops()) // 2


@torch.no_grad()
def prune(teacher: Teacher, pictures: NDArray[np.uint8], macs: float, *, on_step: OnStep = ignore) -> Teacher:
    """Make an EfficientNet-Lite narrower.

    Parameters
    ----------
    teacher : Teacher
        Folded; it is left as it is.
    pictures : ndarray of uint8, shape (n, h, w, 3)
        Of the kind that it will see, strange ones among them; some hundreds, or the deepest blocks, which have few
        places in a picture, learn them by heart.
    macs : float
        Multiply-add operations that it may take for one of them.
    on_step : callable
        Called after each block, twice.

    Returns
    -------
    Teacher
        Another one, with the same taps; itself where it is small enough.

    Raises
    ------
    ConfigError
        If it is another network, or cannot become that small.
    """
    size = pictures.shape[1]
    full = count_macs(teacher, size)
    if full <= macs:
        return teacher
    blocks = [path for path in teacher.backbone.paths if _is_wide(teacher.backbone.get_submodule(path))]
    if not blocks:
        raise ConfigError(
            "this backbone cannot be made narrower",
            expected="an efficientnet-lite",
            got=f"{teacher.facts['architecture']}, which takes {full / 1e9:.2f} G multiply-adds",
            fix="leave budget and preset out, or choose another backbone",
        )
    pruned = Teacher(copy.deepcopy(teacher.backbone), teacher.facts, fold=False)
    fades = {}
    for path, block, inputs in _walk(pruned, pictures):
        if path in blocks:
            fades[path] = _fade(block, inputs)
            on_step(Step("narrowing", len(fades), 2 * len(blocks)))
    chosen = _choose(fades, full, macs)
    done = 0
    for path, block, inputs in _walk(pruned, pictures, teacher):
        if path not in blocks:
            continue
        if chosen[path]:
            _narrow(block, fades[path].order[: chosen[path]], inputs, teacher.backbone.get_submodule(path))
        done += 1
        on_step(Step("narrowing", len(blocks) + done, 2 * len(blocks)))
    widths = {path: _block(pruned, path)._project_conv.in_channels for path in blocks}
    facts = teacher.facts | {"narrowed": {"macs": [full, count_macs(pruned, size)], "channels": widths}}
    return Teacher(pruned.backbone, facts, fold=False)


def _block(teacher: Teacher, path: str) -> LiteBlock:
    return cast(LiteBlock, teacher.backbone.get_submodule(path))


def _is_wide(module: nn.Module) -> bool:
    return isinstance(module, LiteBlock) and module.expands


@dataclass
class _Inputs:
    """What reaches a block: of the teacher that is made narrower, and of the one that it imitates."""

    own: list[Tensor]
    wanted: list[Tensor]


def _walk(
    teacher: Teacher, pictures: NDArray[np.uint8], original: Teacher | None = None
) -> Iterator[tuple[str, LiteBlock, _Inputs]]:
    """Yield each step with its inputs; it may be changed before the next one is asked for."""
    parts = [teacher.normalise(torch.from_numpy(pictures[i : i + AT_ONCE])) for i in range(0, len(pictures), AT_ONCE)]
    inputs = _Inputs(parts, parts)
    for path in teacher.backbone.paths:
        step = teacher.backbone.get_submodule(path)
        yield path, cast(LiteBlock, step), inputs
        own = [step(part) for part in inputs.own]
        other = None if original is None else original.backbone.get_submodule(path)
        same = other is None or (inputs.own is inputs.wanted and not _is_wide(step))
        inputs = _Inputs(own, own if same or other is None else [other(part) for part in inputs.wanted])


def _wide(block: LiteBlock, x: Tensor) -> Tensor:
    """Return what a block narrows."""
    y = F.relu6(block._bn0(block._expand_conv(x)))
    return F.relu6(block._bn1(block._depthwise_conv(block._pad(y))))


@dataclass(frozen=True)
class _Moments:
    """Of wide channels and of what they are to become, over all places of all pictures."""

    wide: Tensor  # (a, a) covariance
    both: Tensor  # (a, b)
    mean: Tensor  # (a,)
    target: Tensor  # (b,) mean

    @classmethod
    def of(cls, wide: Sequence[Tensor], target: Sequence[Tensor]) -> _Moments:
        """Take them of parts, (n, a, h, w) and (n, b, h, w)."""
        sums: list[Tensor] = []
        count = 0
        for h, y in zip(wide, target, strict=True):
            h, y = (f.permute(0, 2, 3, 1).flatten(0, 2).double() for f in (h, y))
            count += len(h)
            new = [h.T @ h, h.T @ y, h.sum(0), y.sum(0)]
            sums = [a + b for a, b in zip(sums, new, strict=True)] if sums else new
        square, both, mean, target_mean = (s / count for s in sums)
        square -= torch.outer(mean, mean)
        square += torch.eye(len(square)) * RIDGE * square.diagonal().mean()
        return cls(square, both - torch.outer(mean, target_mean), mean, target_mean)


@dataclass(frozen=True)
class _Fade:
    """How a block loses its wide channels."""

    order: list[int]  # first to go first
    lost: list[float]  # share of the variance of the block's output, after none, one, two ... are out
    macs: int  # that each of them takes


def _fade(block: LiteBlock, inputs: _Inputs) -> _Fade:
    """Take out a block's wide channels one by one, each time the one that the rest can best do without."""
    wide = [_wide(block, x) for x in inputs.own]
    narrow = [block._bn2(block._project_conv(h)) for h in wide]
    whole = [x + y for x, y in zip(inputs.own, narrow, strict=True)] if block.adds else narrow
    variance = torch.cat([y.permute(1, 0, 2, 3).flatten(1) for y in whole], 1).double().var(1)  # (b,)
    moments = _Moments.of(wide, narrow)
    inverse = torch.linalg.inv(moments.wide)
    weight = inverse @ (moments.both / variance.clamp_min(1e-12).sqrt())  # (a, b)
    out = torch.zeros(len(weight), dtype=torch.bool)
    order: list[int] = []
    lost = [0.0]
    for _ in range(len(weight) - 1):
        cost = weight.square().sum(1) / inverse.diagonal().clamp_min(1e-30)
        worst = int(cost.masked_fill(out, torch.inf).argmin())
        order.append(worst)
        lost.append(lost[-1] + float(cost[worst]) / len(variance))
        out[worst] = True
        column = inverse[:, worst] / inverse[worst, worst]
        weight.addr_(column, weight[worst].clone(), alpha=-1)
        inverse.addr_(column, inverse[worst].clone(), alpha=-1)
        inverse[worst], inverse[:, worst], weight[worst] = 0.0, 0.0, 0.0
    (h, w), places = inputs.own[0].shape[2:], wide[0].shape[2] * wide[0].shape[3]
    kernel = block._depthwise_conv.kernel_size
    macs = block._expand_conv.in_channels * h * w + (kernel[0] * kernel[1] + len(variance)) * places
    return _Fade(order, lost, macs)


def _choose(fades: Mapping[str, _Fade], full: int, macs: float) -> Removed:
    """Return how many channels each block loses: the least that is lost in all for what they may cost."""
    offered = {path: _offered(len(fade.lost)) for path, fade in fades.items()}

    def taken(price: float) -> Removed:
        return {
            path: min(offered[path], key=lambda k, fade=fade: fade.lost[k] - price * fade.macs * k)  # type: ignore[misc]
            for path, fade in fades.items()
        }

    def cost(removed: Removed) -> int:
        return full - sum(fade.macs * removed[path] for path, fade in fades.items())

    low, high = 0.0, 1.0  # of a variance for each operation
    if cost(taken(high)) > macs:
        raise ConfigError(
            "the budget is too small for this backbone",
            expected=f"at least {cost(taken(high)) / 1e9:.3f} G multiply-adds for the encoder alone",
            got=f"{macs / 1e9:.3f} G, after student and map",
            fix="a larger budget, or smaller pictures (size)",
        )
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if cost(taken(middle)) > macs else (low, middle)
    return taken(high)


def _offered(channels: int) -> list[int]:
    """Return how many of a block's channels may go: what is left is a multiple, or all of them."""
    return [0, *(channels - left for left in range(MULTIPLE, channels, MULTIPLE))]


def _narrow(block: LiteBlock, gone: Sequence[int], inputs: _Inputs, original: nn.Module) -> None:
    """Take channels out of a block, and solve for the rest, so that it gives what the original does."""
    left = torch.tensor(sorted(set(range(block._project_conv.in_channels)) - set(gone)))
    block._expand_conv = _some(block._expand_conv, left)
    block._depthwise_conv = _some(block._depthwise_conv, left)
    wide = [_wide(block, x) for x in inputs.own]
    wanted = [original(x) for x in inputs.wanted]
    if block.adds:
        wanted = [y - x for x, y in zip(inputs.own, wanted, strict=True)]
    moments = _Moments.of(wide, wanted)
    weight = torch.linalg.solve(moments.wide, moments.both)  # (a, b)
    narrow = nn.Conv2d(len(left), weight.shape[1], 1)
    narrow.weight = nn.Parameter(weight.T.float()[:, :, None, None].contiguous())
    narrow.bias = nn.Parameter((moments.target - moments.mean @ weight).float())
    block._project_conv = narrow


def _some(conv: nn.Conv2d, left: Tensor) -> nn.Conv2d:
    """Return a folded convolution that gives some of its channels; one of each channel also takes only those."""
    groups = len(left) if conv.groups > 1 else 1
    inputs = len(left) if conv.groups > 1 else conv.in_channels
    size, stride = cast(tuple[int, int], conv.kernel_size), cast(tuple[int, int], conv.stride)
    less = nn.Conv2d(inputs, len(left), size, stride, cast(tuple[int, int], conv.padding), groups=groups)
    assert conv.bias is not None
    less.weight, less.bias = nn.Parameter(conv.weight[left].clone()), nn.Parameter(conv.bias[left].clone())
    return less
