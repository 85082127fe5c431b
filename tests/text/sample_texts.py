"""What the small tokenizer of these tests is trained on."""

TEXTS = [
    "The quick brown fox jumps over the lazy dog, and the dog doesn't mind at all. It is what it is.\n" * 3,
    "模型把文本切成词元，再预测下一个词元。今天天气很好，我们去公园散步。\n" * 3,
    "def add(a: int, b: int) -> int:\n    return a + b\n\n\nclass Point:\n    x: int = 0\n    y: int = 12\n" * 3,
    "Question: what is 12 + 34? Answer: 46. user assistant system role content\n" * 3,
]
