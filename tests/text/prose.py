"""Texts to learn from: English, code and Chinese, each long enough for pieces to be worth learning."""

import argparse
import inspect
import json.decoder
from itertools import product

ENGLISH = (
    inspect.cleandoc(argparse.__doc__)
    + "\n"
    + "\n".join(line for line in inspect.getsource(argparse).splitlines() if line.strip().startswith("#"))
)
CODE = inspect.getsource(json.decoder)[:9000]
STORY = """\
语言模型读一段文本，预测下一个词元。词元不是词，也不是字，而是训练出来的片段：常见的片段成为一个词元，少见的片段由几个词元组成。
分词器先数一数文本里的字，再把最常见的一对字合成一个片段，然后再数，再合，直到词表满了为止。
今天天气很好，我们去公园散步。公园里有很多人，有的人在跑步，有的人在唱歌，有的人在下棋。
明天天气不好，我们不去公园，在家里读书。读书使人明白道理，散步使人身体健康。
训练数据越多，语言模型越好；但是数据的质量也很重要，质量不好的数据会使语言模型变差。
北京是中国的首都，上海是中国最大的城市。从北京到上海，坐高铁要四个多小时，坐飞机要两个小时。
很多人喜欢坐高铁，因为高铁站在城市里，飞机场在城市外。也有很多人喜欢坐飞机，因为飞机快。
"""
WHO, WHEN = ("我们", "很多人", "老师和学生", "上海的工人"), ("今天下午", "明天早上", "天气好的时候", "读书以后")
WHERE = ("去公园散步", "坐高铁去北京", "在城市里唱歌", "训练语言模型")
CHINESE = STORY + "".join(f"{who}{when}{where}。" for who, when, where in product(WHO, WHEN, WHERE)) + "\n" + STORY[:60]
TEXTS = {"english": ENGLISH, "code": CODE, "chinese": CHINESE}
