"""A model that repeats what it was told last, for chats without one; as a program, a chat with it."""

import json
import os
import sys
import time
from types import ModuleType, SimpleNamespace


class Parrot:
    """It reads `reach` tokens, a character each; `heard` is every conversation it was given, with its sampling. It is
    slow over what ends in "slowly", and silent over "hush".
    """

    def __init__(self, reach: float = 1000):
        self.reach, self.heard = reach, []

    def ids(self, messages) -> list[str]:
        return [char for message in messages for char in message["content"]]

    def pieces(self, messages, **sampling):
        text = messages[-1]["content"]
        self.heard.append(([(message["role"], message["content"]) for message in messages], sampling))
        if text == "hush":
            time.sleep(30)
        for word in ("you ", "said ", text):
            yield SimpleNamespace(text=word, token=1)
        for number in range(100 if text.endswith("slowly") else 0):
            time.sleep(0.05)
            yield SimpleNamespace(text=f" {number}", token=1)
        yield SimpleNamespace(text="", token=None)


def main() -> None:
    """Chat, and write down what was heard: without torch, so that it begins at once."""
    model = Parrot(int(os.environ.get("REACH", 1000)))
    sys.modules["viva.api"] = ModuleType("viva.api")
    sys.modules["viva.api"].load = lambda *given: model
    from viva.cli import main

    code = main(["chat", "parrot", *sys.argv[2:]])
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump([heard for heard, _ in model.heard], file)
    sys.exit(code)


if __name__ == "__main__":
    main()
