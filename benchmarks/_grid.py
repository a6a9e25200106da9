"""The command line of a benchmark that goes through sets and seeds, with its defaults or with an ablation of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from _data import available

from limbeck.config import parse_assignment

Run = Callable[[str, int, Mapping[str, Any], str], None]  # set, seed, fields, tag


def go_through(
    about: str | None, sets: Sequence[str], run: Run, table: Callable[[], None], markdown: Callable[[], None]
) -> None:
    """Measure what is missing and print the table, or print the docs' table alone."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=list(sets))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="for an ablation")
    parser.add_argument("--tag", default="", help="names the ablation")
    parser.add_argument("--markdown", action="store_true", help="print the table of the docs, and measure nothing")
    given = parser.parse_args()
    if given.markdown:
        markdown()
        return
    if not available():
        sys.exit("the data are not there: set LIMBECK_DATA to their folder")
    if bool(given.set) != bool(given.tag):
        sys.exit("an ablation needs both --set and --tag")
    for seed in given.seeds:
        for name in given.sets:
            run(name, seed, dict(map(parse_assignment, given.set)), given.tag)
            print(f"done: {name}, seed {seed} {given.tag}", flush=True)
    table()
