"""The teacher's features of every picture, computed once and kept on disk in half precision.

No augmentation is used, so a picture's features never change. One file of records, written in order and read at random:
a killed run goes on behind the last whole record. Pictures beyond the bound are taught again whenever they are needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limbeck.errors import OutputError

__all__ = ["Features"]

TAUGHT_AT_ONCE = 16  # pictures


class Features:
    """A teacher's features of some pictures.

    Parameters
    ----------
    items : PictureItems
        The pictures; `subset` gives some of them.
    teach : callable
        uint8 pictures (n, h, w, 3) to features, one (n, c, h, w) a scale.
    shapes : sequence of (c, h, w)
        Of the scales.
    folder : Path
        Where the file goes.
    most_bytes : int
        How large it may become.
    key : str
        Names the pictures and the teacher; another key is another file.
    """

    def __init__(
        self,
        items: Any,
        teach: Callable[[Tensor], Sequence[Tensor]],
        shapes: Sequence[tuple[int, int, int]],
        *,
        folder: Path,
        most_bytes: int,
        key: str,
    ) -> None:
        self._items, self._teach, self._shapes = items, teach, tuple(shapes)
        self._splits = np.cumsum([c * h * w for c, h, w in self._shapes])
        self._record = int(self._splits[-1])
        self.kept = min(len(items), most_bytes // (2 * self._record))
        self._file = folder / f"features-{hashlib.sha256(key.encode()).hexdigest()[:16]}.f16"
        self._held: NDArray[np.float16] | None = None

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self._items)

    def fill(self) -> Iterator[int]:
        """Compute what is not on disk yet; yield how many pictures are."""
        done = self._file.stat().st_size // (2 * self._record) if self._file.exists() else 0
        done = min(done, self.kept)
        try:
            with self._file.open("r+b" if self._file.exists() else "w+b") as handle:
                handle.truncate(done * 2 * self._record)  # a killed run may have left half a record
                handle.seek(0, 2)
                for batch in self._items.subset(range(done, self.kept)).batches(TAUGHT_AT_ONCE):
                    handle.write(self._flat(self._taught(batch.x)).tobytes())
                    done += len(batch.x)
                    yield done
        except OSError as error:
            raise OutputError(
                f"the features of {self.kept:,} pictures cannot be written to {self._file.parent}",
                expected=f"{2 * self._record * self.kept / 1e9:.2f} GB of room",
                got=error.strerror or str(error),
                fix="free some room, or keep fewer: --set cache_gb=0 computes them again each time",
            ) from error
        if self.kept:
            self._held = np.memmap(self._file, np.float16, "r", shape=(self.kept, self._record))

    def __getitem__(self, places: NDArray[np.int64]) -> list[Tensor]:
        """Return the features of some pictures, float32 (n, c, h, w) a scale, in the order of `places`."""
        kept = places < self.kept
        flat = np.empty((len(places), self._record), np.float16)
        if kept.any() and self._held is not None:
            flat[kept] = self._held[places[kept]]
        if not kept.all():
            flat[~kept] = self._flat(self._again(places[~kept]))
        parts = np.split(flat, self._splits[:-1], axis=1)
        return [
            torch.from_numpy(part.reshape(-1, *shape).astype(np.float32))
            for part, shape in zip(parts, self._shapes, strict=True)
        ]

    def pictures(self, places: NDArray[np.int64]) -> Tensor:
        """Return some of the pictures themselves, uint8 (n, h, w, 3), in the order of `places`."""
        return torch.from_numpy(np.concatenate([b.x for b in self._items.subset(places).batches(len(places))]))

    def _again(self, places: NDArray[np.int64]) -> list[Tensor]:
        batches = self._items.subset(places).batches(TAUGHT_AT_ONCE)
        parts = [self._taught(batch.x) for batch in batches]
        return [torch.cat(scale) for scale in zip(*parts, strict=True)]

    def _taught(self, pictures: NDArray[np.uint8]) -> Sequence[Tensor]:
        with torch.inference_mode():
            return self._teach(torch.from_numpy(pictures))

    def _flat(self, features: Sequence[Tensor]) -> NDArray[np.float16]:
        flat = torch.cat([f.flatten(1) for f in features], 1).clamp(-65504, 65504)
        return flat.half().numpy()
