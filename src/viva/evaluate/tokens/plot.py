"""The report as a picture: tokens a character by script, tokens a word by language."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from viva.base.files import whole_file
from viva.evaluate.tokens.page import MUCH
from viva.evaluate.tokens.report import Figures, Group, Report
from viva.evaluate.tokens.units import SPACES, counted_as

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(report: Report, languages: Sequence[str], file: Path) -> None:
    """Write the picture, of every script and of the `languages` that are named, as PNG."""
    from matplotlib.figure import Figure  # takes a while to import

    chosen = {name: report.languages[name] for name in languages}
    rows = max(len(report.scripts), len(chosen))
    figure = Figure(figsize=(13, 2 + 0.27 * rows), layout="constrained")
    left, right = figure.subplots(1, 2)
    _dots(left, report, report.scripts, lambda of: of.per_character)
    _dots(right, report, chosen, lambda of: of.per_word)
    left.set(xlabel="tokens a character", title="By script")
    right.set(xlabel="tokens a word (¹: a word is one character, ²: a syllable, ³: a phrase)", title="By language")
    handles, names = left.get_legend_handles_labels()
    below = f"hollow: more than {MUCH:.0%} of the tokens are unknown"
    figure.legend(handles, names, loc="outside lower center", ncols=6, title=below)
    with whole_file(file) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def _dots(axes: "Axes", report: Report, groups: Mapping[str, Group], value: Callable[[Figures], float | None]) -> None:
    """A row a group, a mark a tokenizer."""
    for number, (name, figures) in enumerate(report.figures.items()):
        known = [
            (row, figures[group]) for row, group in enumerate(groups.values()) if value(figures[group]) is not None
        ]
        hollow = [(of.unknown or 0) > MUCH for _, of in known]
        axes.scatter(
            [value(of) for _, of in known],
            [row for row, _ in known],
            marker="osD^vPX"[number % 7],
            facecolors=["none" if is_hollow else f"C{number}" for is_hollow in hollow],
            edgecolors=f"C{number}",
            label=name,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(range(len(groups)), [_label(name, group) for name, group in groups.items()])
    axes.invert_yaxis()
    axes.grid(alpha=0.3, which="both")


def _label(name: str, group: Group) -> str:
    word = counted_as(group.script)
    return name if word == SPACES else name + {"one character": "¹", "one syllable": "²", "a whole phrase": "³"}[word]
