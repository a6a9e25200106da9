"""A command in a process of its own: what it says, how long it takes and how much memory it needs.

And what is so measured of pictures: learning from a large folder, and scoring one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FIT", "SCORE", "Watched", "link", "watched"]

# PYTHON -c FIT folder package fields: says when each stage was over
FIT = """
import json, sys, time, warnings
import limbeck
warnings.simplefilter("ignore")
start, over = time.perf_counter(), {}
detector = limbeck.fit(sys.argv[1], config=json.loads(sys.argv[3]),
                       on_step=lambda step: over.update({step.stage: time.perf_counter() - start}))
detector.save(sys.argv[2])
print(json.dumps(over | {"end": time.perf_counter() - start}))
"""
# PYTHON -c SCORE package folder results [maps]: says how many pictures a second
SCORE = """
import sys, time
from limbeck.batch import score
from limbeck.detector import Detector
detector = Detector.load(sys.argv[1])
start = time.perf_counter()
done = score(detector, sys.argv[2], sys.argv[3], maps=sys.argv[4] if len(sys.argv) > 4 else None)
print(done / (time.perf_counter() - start))
"""


@dataclass(frozen=True)
class Watched:
    """A command that has ended."""

    said: str  # on its standard output
    seconds: float
    mebibytes: float  # peak of the anonymous memory: mapped files are not counted


def watched(command: Sequence[str], temporary: Path) -> Watched:
    """Run a command, whose temporary files go to a folder, and ask every 20 ms how much it holds."""
    start, peak = time.perf_counter(), 0
    environment = os.environ | {"TMPDIR": str(temporary)}
    with subprocess.Popen(list(command), stdout=subprocess.PIPE, text=True, env=environment) as process:
        while process.poll() is None:
            peak = max(peak, _held(process.pid))
            time.sleep(0.02)
        said, _ = process.communicate()
    if process.returncode:
        sys.exit(f"a process that was to be measured failed with {process.returncode}")
    return Watched(said, time.perf_counter() - start, peak / 1024)


def _held(process: int) -> int:
    """Return the anonymous memory of a process in KiB; 0 where it has just ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))


def link(folder: Path, files: Sequence[Path], count: int) -> Path:
    """Make a folder of many pictures out of a few."""
    folder.mkdir()
    for i in range(count):
        os.link(files[i % len(files)], folder / f"{i:05d}.png")
    return folder
