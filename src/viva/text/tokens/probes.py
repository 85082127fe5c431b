"""Texts that tell tokenizers apart: scripts, spaces, digits, signs, code, accents, what looks like special tokens."""

from viva.text.tokens.fingerprint import PROBE

PROBES = (
    PROBE,
    "Hello world",
    " Hello  World   ",
    "hello\nworld\r\n\r\n\tindented\n    by four\n",
    "It's HE'LL don't WE'VE I'm they'd",
    "0 12 345 6789 12345678 3.14159 1,000,000 1e-9 0xFF ٣٤٥ ４５６ ½ Ⅻ",
    "naïve café Straße İstanbul ǅ ﬁ Å e\u0301 n\u0303 ① ㎏ ™",
    "def f(x: int) -> str:\n\treturn f'{x:>8}' if x != 0 else \"\"  # ok?\n",
    "https://example.org/a_b?c=d&e=%20#f user@example.com snake_case camelCase",
    "!!! ... --- ``` ''' \"\"\" ¿qué? «oui» “quoted” – — …",
    "今天天气很好，我们去公园散步。繁體中文",
    "吾輩は猫である。カタカナ ｶﾅ",
    "모든 인간은 태어날 때부터 자유로우며",
    "Все люди рождаются свободными",
    "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι",
    "يولد جميع الناس أحراراً متساوين",
    "כל בני האדם נולדו בני חורין",
    "सभी मनुष्यों को गौरव और अधिकारों",
    "มนุษย์ทั้งหลายเกิดมามีอิสระ",
    "Tất cả mọi người sinh ra đều được tự do",
    "🙂👍🏽👩‍👩‍👧🏳️‍🌈 ☺️ ✈",
    "\u00a0\u2003\u3000\u200b\u200d\ufeff\x00\x07\x7f\u0085\u2028",
    "<s></s><unk><pad>[CLS][SEP][MASK]<|endoftext|><|im_start|><|im_end|><bos><eos><0x0A>\u2581",
    "a" * 40 + " " * 20 + "=" * 40,
)
