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
        shown = sorted((name, value) for name, value in told if name in KEPT and (name, value) != ("start", "1"))
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
        part = re.sub(" *\n *| +", lambda found: "\n" if "\n" in found[0] else " ", part)  # as a browser shows it
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
WORDS = ["a", "b c", "*a*", "**b**", "_", "`c`", "[x](https://a.example)", "[", "\\*", "~~d~~ ", "&lt;", "a < b"]
HEADS = ["", "", "", "- ", "1. ", "> ", "# ", "  ", "* "]


def written(seed):
    """Some lines of Markdown."""
    draw = random.Random(seed)
    line = lambda: draw.choice(HEADS) + " ".join(draw.choices(WORDS, k=draw.randint(1, 4)))  # noqa: E731
    return "\n".join(line() for _ in range(draw.randint(1, 6)))


def made(page, *texts):
    return page.evaluate(MADE, texts)


def test_markdown_is_what_its_twin_makes_of_it(modules):
    texts = [*CASES, *map(written, range(300))]
    for text, html in zip(texts, made(modules, *texts), strict=True):
        assert Seen(html).parts == Seen(TWIN.render(text)).parts, text


def test_html_of_an_answer_is_text(modules):
    texts = [
        "<script>alert(1)</script>",
        "a <img src=x onerror=alert(1)> b",
        "<style>*{display:none}</style>\n\n<iframe src='https://a.example'></iframe>",
        "```<b>\n</code></pre><script>alert(1)</script>\n```",
        "| <b>a</b> |\n|-|\n| <svg onload=alert(1)> |",
    ]
    script, image, style, code, table = made(modules, *texts)
    assert script == "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>"
    assert image == "<p>a &lt;img src=x onerror=alert(1)&gt; b</p>"
    assert "<style" not in style and "<iframe" not in style
    assert "&lt;/code&gt;&lt;/pre&gt;&lt;script&gt;" in code and "<script" not in code
    assert "<b>" not in table and "&lt;svg onload=alert(1)&gt;" in table


ADDRESSES = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "&#106;avascript:alert(1)",
    "javascript&colon;alert(1)",
    "\x01javascript:alert(1)",
    "vbscript:x",
    "data:text/html,<script>alert(1)</script>",
    "file:///etc/passwd",
    "/v1/models",
    "//a.example",
]


def test_only_safe_addresses_are_links(modules):
    texts = [form.format(address) for address in ADDRESSES for form in ("[a]({})", "![a]({})", "[a][b]\n\n[b]: {}")]
    for text, html in zip(texts, made(modules, *texts), strict=True):
        assert "href" not in html and "src" not in html, (text, html)
    safe = made(modules, "[a](https://a.example)", "![a](https://a.example/b.png)", "<m@a.example>", "www.a.example")
    targets = ["https://a.example", "https://a.example/b.png", "mailto:m@a.example", "http://www.a.example"]
    for target, html in zip(targets, safe, strict=True):
        assert f'href="{target}" target="_blank" rel="noopener noreferrer"' in html


def test_emphasis_and_addresses_in_chinese(modules):
    texts = [
        "**重点：**这是",
        "这是**“重点”**的",
        "词，**标点：**在*“词”*上**。**",
        "2*3*4，**a*：",
        "见 https://a.example/b。然后",
        "`a：**中`",
    ]
    assert made(modules, *texts) == [
        "<p><strong>重点：</strong>这是</p>",
        "<p>这是<strong>“重点”</strong>的</p>",
        "<p>词，<strong>标点：</strong>在<em>“词”</em>上<strong>。</strong></p>",
        "<p>2<em>3</em>4，*<em>a</em>：</p>",
        '<p>见 <a href="https://a.example/b" target="_blank" rel="noopener noreferrer">https://a.example/b</a>。然后</p>',
        "<p><code>a：**中</code></p>",
    ]


def test_tasks_are_boxes_and_depth_is_bounded(modules):
    done, deep = made(modules, "- [x] a\n- [ ] b", "> " * 20000 + "end")
    assert re.findall(r"<input[^>]*>", done) == [
        '<input type="checkbox" disabled="" checked="true">',
        '<input type="checkbox" disabled="">',
    ]
    assert "end" in deep
