"""The teacher of pictures: a frozen pretrained backbone that normalises for itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from limbeck.contracts import OnStep, ignore
from limbeck.image.backbones import Backbone, Tap, build
from limbeck.image.pretrained import load_weights

__all__ = ["Teacher"]


class Teacher(nn.Module):
    """Features of pictures, never changed by training.

    No parameter wants a gradient, so that no graph is built, and `train` leaves it in eval mode. Its forward pass is
    plain torch: it can be exported, and called inside ``torch.no_grad()`` or ``torch.inference_mode()``.

    Parameters
    ----------
    backbone : Backbone
        With its weights; it is taken over, frozen and, if asked, folded in place.
    facts : dict
        As `load_weights` returns them.
    fold : bool
        Whether normalisations are folded into their convolutions: the same features to 1e-5, in less time.
    """

    backbone: Backbone
    scale: Tensor
    shift: Tensor

    def __init__(self, backbone: Backbone, facts: dict[str, Any], *, fold: bool = True) -> None:
        super().__init__()
        self.facts = facts
        self.fingerprint = _fingerprint(backbone, facts)
        if fold:
            _fold(backbone)
        # Pictures come with their channels last; weights in the same order spare the convolutions a rearrangement.
        self.backbone = backbone.requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        mean, std = (torch.tensor(facts[key], dtype=torch.float64).view(1, 3, 1, 1) for key in ("mean", "std"))
        self.register_buffer("scale", (1 / (255 * std)).float(), persistent=False)
        self.register_buffer("shift", (-mean / std).float(), persistent=False)
        self.train()

    @classmethod
    def load(
        cls,
        architecture: str,
        taps: Sequence[str] = (),
        weights: str = "",
        *,
        fold: bool = True,
        seed: int = 0,
        on_step: OnStep = ignore,
    ) -> Teacher:
        """Build a teacher with its weights.

        Parameters
        ----------
        architecture : str
            A key of `ARCHITECTURES`.
        taps : sequence of str
            Where its features are taken; none = its default taps.
        weights : str
            "" = the published ones, a path, or "random"; see `load_weights`.
        fold : bool
            Whether normalisations are folded into their convolutions.
        seed : int
            Of random weights.
        on_step : callable
            Watches a download.

        Returns
        -------
        Teacher
            Frozen.

        Raises
        ------
        ConfigError
            If there is no such architecture or tap.
        InputError
            If there are no weights that fit.

        Examples
        --------
        >>> teacher = Teacher.load("resnet18", weights="random")
        >>> [tuple(f.shape) for f in teacher(torch.zeros(1, 64, 64, 3, dtype=torch.uint8))]
        [(1, 64, 16, 16), (1, 128, 8, 8), (1, 256, 4, 4)]
        """
        state, facts = load_weights(architecture, weights, taps=taps, seed=seed, on_step=on_step)
        with torch.device("meta"):
            backbone = build(architecture, taps)
        backbone.load_state_dict(state, assign=True)
        return cls(backbone, facts, fold=fold)

    @property
    def taps(self) -> tuple[Tap, ...]:
        """What its features are, shallow to deep."""
        return self.backbone.taps

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Return the features of each tap, float32 (n, channels, h', w'), of pictures, uint8 (n, h, w, 3).

        In memory their channels come last: flatten them with ``flatten``, not with ``view``.
        """
        return cast(list[Tensor], self.backbone(self.normalise(pictures)))

    def normalise(self, pictures: Tensor) -> Tensor:
        """Return pictures as its weights know them, float32 (n, 3, h, w), of uint8 (n, h, w, 3)."""
        x = pictures.permute(0, 3, 1, 2).to(torch.float32)
        return x * self.scale + self.shift

    def train(self, mode: bool = True) -> Teacher:
        """Stay in eval mode, whatever is asked."""
        return super().train(False)

    def describe(self) -> dict[str, Any]:
        """Return its facts as plain values: those of the weights, the taps and the fingerprint."""
        taps = [{"name": t.name, "channels": t.channels, "stride": t.stride} for t in self.taps]
        return {**self.facts, "taps": taps, "fingerprint": self.fingerprint}


def _fingerprint(backbone: Backbone, facts: dict[str, Any]) -> str:
    """Return the SHA-256 of all that decides the features, folded or not: the key of caches of them."""
    head = [facts["architecture"], [tap.name for tap in backbone.taps], facts["mean"], facts["std"]]
    digest = hashlib.sha256(json.dumps(head).encode())
    for key, value in sorted(backbone.state_dict().items()):
        if value.is_floating_point():
            digest.update(f"{key} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().numpy().astype("<f4", copy=False).data)
    return digest.hexdigest()


@torch.no_grad()
def _fold(module: nn.Module) -> None:
    """Put each normalisation's affine map, as it is in eval mode, into the convolution right before it."""
    children = list(module.named_children())
    for (_, conv), (name, norm) in zip(children, children[1:], strict=False):
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            norm = norm.double().eval()
            assert norm.running_mean is not None and norm.running_var is not None
            gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)  # (channels,)
            bias = norm.bias - norm.running_mean * gain
            if conv.bias is not None:
                bias = bias + conv.bias.double() * gain
            conv.weight = nn.Parameter((conv.weight.double() * gain.view(-1, 1, 1, 1)).float())
            conv.bias = nn.Parameter(bias.float())
            setattr(module, name, nn.Identity())
    for _, child in children:
        _fold(child)
