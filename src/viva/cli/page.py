"""What a check of data or a dry run found, as a page: one file, without scripts, that asks the network for nothing."""

from html import escape
from pathlib import Path

from viva.base.files import write_text
from viva.cli.sentences import costs, figures, visible
from viva.text.preflight.report import Report, Shown

STYLE = """body { font: 15px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }
pre { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid #ccc; padding: .7em }
.learned { background: #bff0c4 } .read { color: #666 }
.note { color: #06c; font-style: italic } .wrong { color: #b00 }"""
HEAD = f"""<!DOCTYPE html>
<html><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>viva: before a step is spent</title>
<style>
{STYLE}
</style></head>
<body>
"""


def write(report: Report, file: Path) -> None:
    """Write the page; every text in it is escaped."""
    write_text(file, HEAD + "\n".join(_body(report)) + "\n</body></html>\n")


def _body(report: Report) -> list[str]:
    made = ["<h1>Before a step is spent</h1>"]
    made += [_line(sentence, "wrong") for sentence in report.wrong] or [_line("Nothing is wrong.")]
    made += [*map(_line, (f"tokenizer: {report.tokenizer}", *report.notes)), _legend()]
    for part in report.parts:
        made += [f"<h2>{_safe(part.name)}</h2>", _line(f"format {part.format or 'not told'}")]
        made += map(_line, figures(part))
        made += [_line(str(fault), "wrong") for fault in part.faults]
        made += map(_shown, part.examples)
    if report.run is not None:
        made += ["<h2>The run</h2>", *map(_line, costs(report.run)), *map(_shown, report.run.batch)]
    return made


def _legend() -> str:
    return '<p><span class="learned">learned</span>, <span class="read">only read</span></p>'


def _shown(shown: Shown) -> str:
    pieces = "".join(f'<span class="{mark}">{_safe(text)}</span>' for text, mark in shown.pieces)
    return f"<h3>{_safe(shown.title)}</h3>\n<pre>{pieces}</pre>"


def _line(sentence: str, style: str = "") -> str:
    return f'<p class="{style}">{_safe(sentence)}</p>'


def _safe(text: str) -> str:
    return escape(visible(text))
