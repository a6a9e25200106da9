"""What a student of features is told: distances between its features and its teacher's, and which places count."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from limbeck.image.maps import distance

__all__ = ["LOSSES", "Mining", "feature_loss"]


def _whole(target: Tensor, output: Tensor) -> Tensor:
    """One minus the cosine of all features of a picture taken as one vector: loud places weigh more."""
    return 1.0 - torch.cosine_similarity(target.flatten(1), output.flatten(1), dim=1)


def _places(target: Tensor, output: Tensor) -> Tensor:
    """Mean over the places of one minus the cosine: each place weighs the same."""
    return distance(target, output).flatten(1).mean(1)


def _squares(target: Tensor, output: Tensor) -> Tensor:
    """Mean over the places of the squared distance of unit vectors: twice `_places`."""
    target, output = (f / f.norm(dim=1, keepdim=True).clamp_min(1e-6) for f in (target, output))
    return (target - output).square().sum(1).flatten(1).mean(1)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"global": _whole, "local": _places, "l2norm": _squares}


class Mining:
    """Weakens the gradient of places that the student re-creates well already; the value of the loss stays.

    Parameters
    ----------
    mode : str
        "zscore": easy is nearer than the batch's mean plus `level` standard deviations. "quantile": easy is nearer than
        the batch's quantile `level`.
    level : float
        Of the mode.
    factor : float, in [0, 1]
        What is left of an easy place's gradient.

    References
    ----------
    Guo et al., "ReContrast", NeurIPS 2023 ("zscore", factor 0); Guo et al., "Dinomaly", CVPR 2025 ("quantile", 0.1).
    """

    def __init__(self, mode: str, level: float, factor: float) -> None:
        self.mode, self.level, self.factor = mode, level, factor

    def __call__(self, target: Tensor, output: Tensor) -> Tensor:
        """Return the output as it is, with a weaker gradient at easy places; both (n, c, h, w)."""
        far = distance(target, output.detach())
        limit = far.mean() + self.level * far.std() if self.mode == "zscore" else far.flatten().quantile(self.level)
        share = torch.where(far < limit, self.factor, 1.0).unsqueeze(1)
        return output * share + output.detach() * (1 - share)


def feature_loss(
    targets: Sequence[Tensor], outputs: Sequence[Tensor], kind: str = "global", mining: Mining | None = None
) -> Tensor:
    """Return the loss of a batch, summed over the scales.

    Parameters
    ----------
    targets, outputs : sequence of k tensors, (n, c, h, w)
        The teacher's features and the student's.
    kind : str
        A key of `LOSSES`.
    mining : Mining, optional
        Which places count.

    Returns
    -------
    Tensor, shape ()
        At least 0.
    """
    loss = LOSSES[kind]
    total = torch.zeros(())
    for target, output in zip(targets, outputs, strict=True):
        total = total + loss(target, output if mining is None else mining(target, output)).mean()
    return total
