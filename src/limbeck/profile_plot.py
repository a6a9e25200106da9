"""The drawing of a profile: where the time of an item goes, beside the machine's limit, and how many pass a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from limbeck.errors import OutputError, require
from limbeck.outputs import new_file, refuse_existing
from limbeck.profile import Profile
from limbeck.report_plots import ANOMALOUS, INK, MUTED, NORMAL, STRONG, STYLE

__all__ = ["refuse_plot", "write_plot"]

FORMATS = (".png", ".svg")


def write_plot(profile: Profile, path: str | Path, *, overwrite: bool = False) -> None:
    """Draw a profile into a file.

    Parameters
    ----------
    profile : Profile
        What `limbeck.profile.profile` measured.
    path : path
        A .svg or .png file.
    overwrite : bool
        Replace an existing one.

    Raises
    ------
    OutputError
        If something is there that may not be replaced, or the name is not that of a picture.
    MissingExtraError
        If matplotlib is not installed.
    """
    path = Path(path)
    refuse_plot(path, overwrite)
    matplotlib, figures = require("matplotlib", "report"), require("matplotlib.figure", "report")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = figures.Figure(figsize=(10.0, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_stages(left, profile)
        _draw_throughput(right, profile)
        with new_file(path, overwrite=overwrite) as partial:
            figure.savefig(partial, format=path.suffix[1:].lower(), dpi=150, metadata=_dateless(path))


def refuse_plot(path: Path, overwrite: bool) -> None:
    """Check a plot's place before anything is measured; raises what `write_plot` would."""
    if path.suffix.lower() not in FORMATS:
        raise OutputError(
            f"{path.name} is no picture", expected=" or ".join(FORMATS), got=path.suffix or "no suffix",
            fix="choose another name",
        )  # fmt: skip
    refuse_existing(path, overwrite)


def _dateless(path: Path) -> dict[str, Any]:
    return {"Date": None} if path.suffix.lower() == ".svg" else {}


def _draw_stages(axes: Any, profile: Profile) -> None:
    scale, unit = (1e6, "µs") if profile.items == "rows" else (1e3, "ms")
    names = [stage.name for stage in profile.stages]
    times = [scale * stage.seconds for stage in profile.stages]
    places = range(len(names))
    axes.barh(places, times, color=STRONG, height=0.6, label="time")
    for place, spent, stage in zip(places, times, profile.stages, strict=True):
        work = f"  {spent:.3g} {unit}" + (f", {stage.macs / 1e6:,.3g} million MACs" if stage.macs else "")
        axes.text(spent, place, work, va="center", color=INK)
    axes.axvline(scale * profile.limit, color=ANOMALOUS, linestyle=":")
    at_best = f"all MACs at this machine's best: {scale * profile.limit:.3g} {unit}"
    axes.set_title(at_best, loc="left", color=ANOMALOUS, fontsize=8.5)
    axes.set_yticks(places, names)
    axes.set(ylim=(len(names) - 0.4, -0.6), xlim=(0, 1.9 * max(*times, scale * profile.limit)))
    axes.set(xlabel=f"{unit} for one " + ("picture, on one thread" if profile.items == "pictures" else "row of 1,024"))
    axes.grid(axis="y", visible=False)


def _draw_throughput(axes: Any, profile: Profile) -> None:
    counts = list(dict.fromkeys(threads for threads, _, _ in profile.throughput))
    sizes = list(dict.fromkeys(size for _, size, _ in profile.throughput))
    width = 0.7 / len(counts)
    for k, threads in enumerate(counts):
        mine = {size: rate for count, size, rate in profile.throughput if count == threads}
        places = [i + (k - (len(counts) - 1) / 2) * width for i in range(len(sizes))]
        label = f"{threads} thread" + "s" * (threads > 1)
        axes.bar(places, [mine[size] for size in sizes], width * 0.9, color=(NORMAL, STRONG, MUTED)[k % 3], label=label)
        for place, size in zip(places, sizes, strict=True):
            axes.text(place, mine[size], f"{mine[size]:,.3g}", ha="center", va="bottom", color=INK)
    axes.set_xticks(range(len(sizes)), [f"{size:,}" for size in sizes])
    axes.set(xlabel=f"{profile.items} at once", ylabel=f"{profile.items} a second")
    axes.grid(axis="x", visible=False)
    axes.margins(y=0.15)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, borderaxespad=0.2, columnspacing=1.2)
