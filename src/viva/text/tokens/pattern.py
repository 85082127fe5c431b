"""Which patterns the regular expressions of `tokenizers` (Oniguruma) and of tiktoken (fancy-regex) read alike.

They differ in constructs that look the same: `$` is the end of a line to the one and of the text to the other, `{1,3}+`
is a repeated repetition or a possessive one, ignoring case may join two letters ("st" and the ligature U+FB06) or not.
So a pattern is taken only if it is made of the parts below, which mean the same in both; tests compare them over all of
Unicode. Tables of different versions of Unicode are told apart by `PROBES`.
"""

import re

_ESCAPE = r"\\[pP]\{[A-Z][a-z]?\}|\\[sSrnt]|\\[^\w\s]"  # a category of Unicode, space, a line end, a sign as it is
_IN_CLASS = rf"{_ESCAPE}|[^\\\[\]&~^-]-[^\\\[\]&~^-]|[^\\\[\]&~^-]"  # && and ~~ operate on classes
_CONTRACTION = r"\(\?i:(?:(?!s[st]|f[filst])['a-z|]|\[[a-z]+\]|\(\?:(?:(?!s[st]|f[filst])['a-z|])*\))*\)"
_PARTS = [
    _ESCAPE,
    rf"\[\^?(?:{_IN_CLASS})+\]",
    r"\(\?!\\S\)",  # at the end of space
    _CONTRACTION,
    r"\((?!\?)|\(\?:|\)|\|",
    r"[?*+]\+?(?![?+])",  # greedy or possessive
    r"\{\d+(?:,\d*)?\}(?![?+])",
    r"[^\\\[\](){}|?*+.^$#\s]| ",  # a character as it is
]
_ALIKE = re.compile("(?:" + "|".join(_PARTS) + ")+")

# Letters, marks and digits of Unicode 13 to 17, each of which would be none by the table of the version before it.
_NEW = (
    "\u08be\U00030000\u1abf\U00011950\u0870\u0898\U00011f04\u0cf3\U0001e4f0\U0002ebf0"
    "\u1c89\u0897\U00010d40\U00010940\u1acf\U00011de0"
)
PROBES = [
    *(f"a{new}1{new} {new}.{new}\n" for new in _NEW),
    "don't DON'T we'll'LL 're've'VE'd'm x'\u017f \u017ft \ufb06 \u212a's'\u00df",
    "a  b \n\n  c\t\r\n \u00a0\u2003d\u3000\u3000\x85\u200b\u180e\x1c\x1f e   ",
    " 1234567 x12 \u0663\u0664 \u2167\u00bd $12,345.67e-8 __init__(self)->{'k': [1]} /* */ ``` ,,,\n\n",
    "\u4e2d\u6587\uff0c\u8bcd\u5143\u3002 e\u0301 \u00e9 na\u00efve \U0001f642\u200d\U0001f469 \u01c5\u02b0\u0e01",
]
# A character of each category of Unicode.
KINDS = "Aa\u01c5\u02b0\u00aa\u0300\u0903\u20dd0\u2167\u00b2_-()\u00ab\u00bb!+$^\u00a6 \u2028\u2029\0\u00ad\ue000\u0378"


def alike(pattern: str) -> bool:
    """Whether both libraries read `pattern` in the same way, as far as it can be told from its parts."""
    return _ALIKE.fullmatch(pattern) is not None
