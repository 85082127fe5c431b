"""The report as Markdown."""

from viva.base.markdown import table
from viva.evaluate.reward.flags import interval
from viva.evaluate.reward.measures import Length, Share
from viva.evaluate.reward.report import Report, Wrong

SHOWN = 300  # characters of an answer


def page(report: Report) -> str:
    """All of it."""
    flags = [f"- {flag}" for flag in report.flags] or ["nothing is to be said against it"]
    fields = "".join(f", {name} {value}" for name, value in report.form.items())
    left_out = f" {report.left_out:,} more are too long for the model and left out." if report.left_out else ""
    left_out += f" {report.unread:,} more rows cannot be read and are left out." if report.unread else ""
    read = f"{report.pairs:,} pairs of {report.data}, read by the format preference{fields}.{left_out} {_seen(report)}"
    lines = [read, "", *flags]
    parts = {
        "Pairs told right": _accuracy(report),
        "Calibration": _calibration(report),
        "Length": _length(report.length),
        "Worst pairs": [line for wrong in report.worst for line in _wrong(wrong)] or ["None is told wrong."],
    }
    for title, rows in parts.items():
        lines += ["", f"## {title}", "", *rows]
    return "\n".join(lines) + "\n"


def _seen(report: Report) -> str:
    if report.trained is None:
        return f"Whether the model was trained on any of them is not known: {report.unknown}."
    return f"Of these, {report.trained:,} are in the data that the model was trained on."


def _accuracy(report: Report) -> list[str]:
    rows = [("the model", interval(report.accuracy), "", "")]
    rows += [
        (name, interval(found.accuracy), f"{100 * found.ahead:+.1f} points", f"{found.chance:.2g}")
        for name, found in report.baselines.items()
    ]
    taught = "other parts of these pairs, in turn" if report.learned is None else f"{report.learned:,} pairs"
    taught += f", {report.taught:,} of them these" if report.taught else ""
    return [
        *table("told by", "right, with 95 % interval", "the model ahead", "p", rows=rows),
        "",
        f"The intervals are Wilson's, p is McNemar's, exact. The baselines learned from {taught}.",
    ]


def _calibration(report: Report) -> list[str]:
    of = report.calibration
    rows = [
        (f"{found.low:.2f} to {found.high:.2f}", f"{found.count:,}", f"{found.confidence:.1%}", f"{found.accuracy:.1%}")
        for found in of.bins
    ]
    return [
        *table("confidence", "pairs", "on the average", "told right", rows=rows),
        "",
        f"Expected calibration error {of.error:.3f}; mean confidence {of.confidence:.1%}.",
    ]


def _length(of: Length | None) -> list[str]:
    if of is None:
        return ["Both answers of every pair are equally long: there is nothing to tell by length."]
    rows = [
        ("rewards and lengths, rank correlation", f"{of.correlation:.2f}"),
        ("the same of differences within pairs", f"{of.apart:.2f}"),
        ("the longer answer is chosen by the judges", f"{of.judges:.1%}"),
        ("the longer answer is preferred by the model", f"{of.model:.1%}"),
        ("these two so different by chance, McNemar's exact p", f"{of.lean:.2g}"),
        ("told right where the longer answer is chosen", _of(of.long)),
        ("told right where the shorter answer is chosen", _of(of.short)),
        ("these two so different by chance, Fisher's exact p", f"{of.chance:.2g}"),
    ]
    return table("what", "", rows=rows)


def _of(share: Share) -> str:
    return f"{interval(share)} of {share.count:,}" if share.count else "there is no such pair"


def _wrong(wrong: Wrong) -> list[str]:
    sides = zip(("chosen", "rejected"), wrong.rewards, (wrong.chosen, wrong.rejected), strict=True)
    said = [f"- {name}, worth {reward:.2f}, {side.tokens} tokens: {_shown(side.text)}" for name, reward, side in sides]
    return [f"{wrong.where}:", "", *said, ""]


def _shown(text: str) -> str:
    """In one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[:SHOWN]} [... {len(line) - SHOWN} characters more]"
