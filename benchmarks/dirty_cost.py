"""What does cross-domain distillation cost beside reverse distillation of the same length? One run, in turns.

The learning alone is timed, from the first step to the last, divisions included: teaching and export are the same for
both, and would flatter the ratio. Processor time of one thread; screw at 256 pixels; medians of the rounds.

    python benchmarks/dirty_cost.py [--steps 60] [--domain-steps 300] [--rounds 3] [--kinds NAME ...]

The domains' students learn as long as the global one, up to 300 steps: 60 steps show the ratio until there. That of 800
is shown by 160 and 60.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from _data import available, picture_split
from _results import append

from limbeck.contracts import Step
from limbeck.fitting import configure
from limbeck.fitting.pictures import prepare_pictures
from limbeck.image.cross_domain import CrossDomain
from limbeck.image.reverse_distillation import ReverseDistillation

RESULTS = Path(__file__).with_suffix(".csv")
PLAIN = "reverse distillation"
DISTILLERS: dict[str, Any] = {"reverse-distillation": ReverseDistillation, "cross-domain": CrossDomain}
WIDE = {"narrow": 0.0}  # the width of the global student is not asked for
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    PLAIN: ("reverse-distillation", {}),
    "4 domains, same students": ("cross-domain", {"domains": 4, "domain_students": "same"} | WIDE),
    "4 domains, small students": ("cross-domain", {"domains": 4, "domain_students": "small"} | WIDE),
    "2 domains, same students": ("cross-domain", {"domains": 2, "domain_students": "same"} | WIDE),
    "2 domains, small students": ("cross-domain", {"domains": 2, "domain_students": "small"} | WIDE),
    "4 domains, small students, asked, wide": ("cross-domain", {"alike": 1.0}),
    "4 domains, small students, asked, narrow": ("cross-domain", {"alike": -1.0}),
}


def seconds_of(method: str, fields: dict[str, Any], items: Any, steps: int) -> float:
    """Return the processor seconds that learning takes."""
    config = configure(method, {**fields, "steps": steps})
    stamps: list[float] = []

    def on_step(step: Step) -> None:
        if step.stage == "learning" or not stamps:
            stamps.append(time.process_time())
        if step.stage == "teaching":
            stamps[:] = [time.process_time()]  # learning begins after the last of these

    with tempfile.TemporaryDirectory() as place:
        DISTILLERS[method](config).fit(items, seed=0, workdir=Path(place), on_step=on_step)
    return stamps[-1] - stamps[0]


def main() -> None:
    """Measure in turns, and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--domain-steps", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    given = parser.parse_args()
    if not available():
        sys.exit("the data are not there: set LIMBECK_DATA to their folder")
    torch.set_num_threads(1)
    kinds = {name: KINDS[name] for name in dict.fromkeys((PLAIN, *given.kinds))}
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    with tempfile.TemporaryDirectory() as place:
        split = picture_split("screw", 0, Path(place))
        items = prepare_pictures(str(split.train), size=256, normal=None, on_corrupt="refuse", seed=0).learn
        for _ in range(given.rounds):
            for name, (method, own) in kinds.items():
                fields = own | ({} if name == PLAIN else {"domain_steps": given.domain_steps})
                taken[name].append(seconds_of(method, fields, items, given.steps))
    plain = statistics.median(taken[PLAIN])
    print("| students | seconds | times reverse distillation |\n| --- | --- | --- |")
    for name, values in taken.items():
        middle = statistics.median(values)
        row = {"kind": name, "steps": given.steps, "domain_steps": given.domain_steps, "rounds": given.rounds}
        row |= {"seconds": middle, "times": middle / plain}
        append(RESULTS, row)
        print(f"| {name} | {middle:.1f} | {middle / plain:.2f} |")


if __name__ == "__main__":
    main()
