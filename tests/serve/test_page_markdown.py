"""What the page makes of Markdown: the same elements as markdown-it-py, and none of an answer's own."""

import random
import re
from html.parser import HTMLParser

from markdown_it import MarkdownIt

TWIN = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
MADE = """async (texts) => {
  const { markdown } = await import("/markdown.js");
  return texts.map((text) => markdown(text).map((node) => node.outerHTML).join(""));
}"""
BLOCKS = {"p", "ul", "ol", "li", "blockquote", "pre", "hr", "table", "thead", "tbody", "tr", "th", "td"} | {
    f"h{level}" for level in range(1, 7)
}
KEPT = {"href", "title", "start", "class"}


class Seen(HTMLParser):
    """HTML as a list of tags and texts, without the space around blocks, nor how a link is opened."""

    def __init__(self, html):
        super().__init__()
        self.parts, self.pre = [], 0
        self.feed(html)
        self.parts = [part for part in map(self.bare, range(len(self.parts))) if part]

    def handle_starttag(self, tag, told):
        align = next((value.split(":")[1] for name, value in told if name == "style"), None)
        align = align or dict(told).get("data-align")
        shown = sorted((name, value) for name, value in told if name in KEPT)
        tag = {"s": "del"}.get(tag, tag)
        self.parts.append((tag, *shown, *([align] if align else [])))

    def handle_startendtag(self, tag, told):
        self.handle_starttag(tag, told)

    def handle_endtag(self, tag):
        self.parts.append(("/" + {"s": "del"}.get(tag, tag),))

    def handle_data(self, text):
        if self.parts and isinstance(self.parts[-1], str):
            self.parts[-1] += text
        else:
            self.parts.append(text)

    def bare(self, at):
        part = self.parts[at]
        if not isinstance(part, str):
            return part
        if ("pre",) in self.parts[max(0, at - 2) : at]:
            return part.rstrip()  # of code that has no end
        part = re.sub(" +", " ", part)  # as a browser shows it
        before, after = (self.parts[i][0].strip("/") if 0 <= i < len(self.parts) else "p" for i in (at - 1, at + 1))
        part = part.lstrip() if before in BLOCKS or before == "br" else part
        return part.rstrip() if after in BLOCKS else part


CASES = [
    "one\ntwo",
    "one  \ntwo\\\nthree",
    "# One\n## Two ##\n### Three # four\n#none\n###### Six\n#######",
    "One\n===\nTwo\n---\n***\n- - -",
    "- a\n- b\n  - c\n    - d\n- e",
    "1. one\n2. two\n   - inner\n\nafter",
    "3) three\n4) four",
    "- a\n\n- b",
    "- a\n\n  b\n- c",
    "- a\n+ b\n1. c",
    "text\n- item\ntext",
    "text\n2. no list",
    "- a\n      b\n-     code\n-\n  x",
    "* * *\n*\n* x",
    "> a\nb\n> c\n\n> d\n\ne",
    "> - a\n> - b\n>\n> > c\n> ```\n> d\n> ```",
    "- > a\n  > b\n- ```\n  c\n\n  d\n  ```",
    "```python\na = '<b>'\n\n  b\n```\nafter",
    "~~~\n```\n~~~\n\n    indented\n\n      more\n\nend",
    "```\nnever closed\n# in it",
    "````\n```\n````",
    "| a | b |\n|---|:-:|\n| 1 | `x\\|y` |\n| 2 |\n\nend",
    "a | b\n-: | :-\n1 | 2 | 3\ntext\n\n- x",
    "*a* **b** ***c*** _d_ __e__ ~~f~~",
    "a*b*c a_b_c **a*b*** *a**b**c*",
    "** a** *a * a** _a_b __a__b",
    "*a **b *c* d** e*",
    "`a` ``b ` c`` ` d ` `` ` `` `e",
    "*`a*` [`b]`](https://a.example)",
    '[a](https://a.example) [*b*](<https://b.example> \'B\') [c](https://c.example/(x) "C \\" c")',
    "[a [b] c](https://a.example) [no](a b) [a]\n(b) [",
    "<https://a.example/?a=b&c> <a@b.example> <b> a < b > c",
    "\\*a\\* \\a \\\\ \\`x\\`",
    "&amp; &lt;b&gt; &#65; &#x42; &unknown; & &#0;",
    "<script>alert(1)</script>\n\n<div onclick='x'>y</div>",
    "5 * 3 * 2 = 30; a_1 + b_2; x**2 + y**2",
    "1986\\. A\n\n1. a\n\n   b\n2. c",
]
WORDS = ["a", "b c", "*a*", "**b**", "_", "*", "`c`", "[x](https://a.example)", "[", "\\*", "~~d~~ ", "&lt;", "<i>"]
HEADS = ["", "", "", "- ", "1. ", "> ", "# ", "  ", "   ", "```", "    ", "* ", "---"]


def written(seed):
    """Some lines of Markdown."""
    draw = random.Random(seed)
    line = lambda: draw.choice(HEADS) + draw.choice(["", " "]).join(draw.choices(WORDS, k=draw.randint(0, 4)))  # noqa: E731
    return "\n".join(line() for _ in range(draw.randint(1, 6)))


def test_markdown_is_what_its_twin_makes_of_it(web):
    texts = [*CASES, *map(written, range(300))]
    made = web.evaluate(MADE, texts)
    for text, html in zip(texts, made, strict=True):
        assert Seen(html).parts == Seen(TWIN.render(text)).parts, text
