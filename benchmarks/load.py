"""A server under load: many clients at once, each of whose answers is checked, and more of them than it takes on.

    python benchmarks/load.py [MODEL] [--clients 200] [--seconds 300] [--rows 64]

`viva serve` runs in a process of its own; without MODEL it serves a tiny random model. Each client streams one answer
after another, half of them greedy, half drawn with a seed, and compares each with what the model says when it is asked
alone. Three rounds: as many clients as were asked for, all of whom have a place; as many as a smaller server has places
for; and four times as many as that, of whom the surplus is told 429.

Reported: answers, time to first token and per token (that of an answer from its first piece of text to its last, over
the pieces), and the memory of the server. Exit code 1 where an answer was lost or another, a surplus was told anything
but 429, or memory grew by more than 5 % from the second third of the first round to the last: kernels are made first.
"""

import argparse
import asyncio
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import psutil

TOKENS, PROMPTS = 32, 48
MEGA = 2**20


@dataclass
class Round:
    """What the clients of a round saw; times in seconds, memory in bytes."""

    first: list[float] = field(default_factory=list)
    each: list[float] = field(default_factory=list)
    ends: Counter = field(default_factory=Counter)
    memory: list[int] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """Of the memory, from the second third of the round to the last."""
        third = max(1, len(self.memory) // 3)
        return sum(self.memory[-third:]) / sum(self.memory[-2 * third : -third] or self.memory[-third:]) - 1


def tiny(folder: Path) -> Path:
    from viva.model import folder as checkpoint
    from viva.model.arch import llama
    from viva.model.init import initialise
    from viva.text.tokens.learn import byte_bpe

    tokenizer = byte_bpe.train(["some words to merge, some words to learn\n" * 3], byte_bpe.Config(vocab_size=300))
    config = llama.TINY.model_copy(update={"vocab": tokenizer.vocab_size, "context": 512})
    checkpoint.save(folder, config, initialise(config.spec().build(), seed=1), tokenizer)
    return folder


def questions(folder: str | Path) -> list[tuple[dict, str]]:
    """Requests, with what the model answers to each of them alone."""
    import viva

    model, chance, made = viva.load(folder), random.Random(0), []
    for number in range(PROMPTS):
        words = " ".join(chance.choices(["some", "words", "to", "merge", "learn"], k=chance.randint(1, 40)))
        messages = [{"role": "user", "content": f"{number} {words}"}]
        drawn = {"temperature": 0.8, "seed": number} if number % 2 else {"temperature": 0}
        said = model.chat(messages, max_new_tokens=TOKENS, **drawn)
        made.append(({"messages": messages, "max_tokens": TOKENS, "stream": True, **drawn}, said))
    return made


@contextlib.contextmanager
def serving(model: str | Path, *flags: object):
    """A server: its address, the name of its model, and its process."""
    words = [sys.executable, "-m", "viva.cli", "serve", model, "--port", 0, *flags]
    with tempfile.TemporaryFile() as log, tempfile.TemporaryFile() as said:
        process = subprocess.Popen([*map(str, words)], stdout=log, stderr=said)
        try:
            started = None
            while started is None:
                time.sleep(0.2)
                log.seek(0)
                line = log.readline()
                if process.poll() is not None:
                    said.seek(0)
                    raise SystemExit(said.read().decode())
                started = json.loads(line) if line.endswith(b"\n") else None
            log.seek(0, 2)
            yield f"http://127.0.0.1:{started['port']}", started["model"], psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()


async def client(url: str, model: str, asked: list, until: float, chance: random.Random, seen: Round) -> None:
    """Answer after answer until the time is over; one who is told 429 comes again when that says."""
    while time.monotonic() < until:
        request, expected = chance.choice(asked)
        try:
            async with asyncio.timeout(120):
                end, wait = await one(url, {"model": model, **request}, expected, seen)
        except (OSError, EOFError, TimeoutError) as error:
            end, wait = f"lost ({type(error).__name__})", 0.1
        seen.ends[end] += 1
        await asyncio.sleep(min(wait, max(0.0, until - time.monotonic())))


async def one(url: str, request: dict, expected: str, seen: Round) -> tuple[str, float]:
    """How one request ended, and how long to wait before the next."""
    text, times = "", [time.monotonic()]
    async with aclosing(lines(url, request)) as come:
        status, wait = await anext(come), float(await anext(come) or 1)
        if status != "200":
            return status, wait
        async for line in come:
            if line == "data: [DONE]":
                break
            if line.startswith("data: "):
                told = json.loads(line.removeprefix("data: "))
                if "error" in told:
                    return "lost (an error in the stream)", 0.0
                if said := told["choices"][0]["delta"].get("content"):
                    text += said
                    times.append(time.monotonic())
        else:
            return "lost (no end)", 0.0
    if text != expected:
        return "another answer", 0.0
    if len(times) > 2:
        seen.first.append(times[1] - times[0])
        seen.each.append((times[-1] - times[1]) / (len(times) - 2))
    return "right", 0.0


async def lines(url: str, request: dict) -> AsyncIterator[str]:
    """The status, Retry-After and the lines of an answer, by a client that costs little: hundreds share a process."""
    host, port = url.removeprefix("http://").split(":")
    read, write = await asyncio.open_connection(host, int(port))
    try:
        body = json.dumps(request).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
            "Connection: close\r\nContent-Type: application/json\r\n"
        )
        write.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        top = (await read.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        yield top[0].split()[1]
        yield next((line.partition(":")[2] for line in top if line.startswith("retry-after:")), "")
        while "transfer-encoding: chunked" in top and (size := int(await read.readline(), 16)):
            for line in (await read.readexactly(size + 2)).decode().split("\n"):
                yield line.strip()
    finally:
        write.close()


async def drive(url: str, model: str, process: psutil.Process, asked: list, clients: int, seconds: float) -> Round:
    """So many clients for so long, and the server's memory beside them."""
    seen, until = Round(), time.monotonic() + seconds
    going = [client(url, model, asked, until, random.Random(number), seen) for number in range(clients)]
    done = asyncio.gather(*going)
    while not done.done():
        seen.memory.append(process.memory_info().rss)
        await asyncio.wait({done}, timeout=max(0.2, seconds / 60))
    await done
    return seen


def shown(what: str, clients: int, seconds: float, seen: Round) -> str:
    """A row of the table."""
    right = seen.ends["right"]
    others = ", ".join(f"{count:,} {end}" for end, count in sorted(seen.ends.items()) if end != "right") or "none"
    spread = [f"{at(times, p) * 1000:,.0f}" for times in (seen.first, seen.each) for p in (0.5, 0.99)]
    memory = f"{seen.memory[0] / MEGA:,.0f} to {seen.memory[-1] / MEGA:,.0f} ({seen.growth:+.1%})"
    return f"| {what} | {clients} | {right:,} | {others} | {right / seconds:,.1f} | {' | '.join(spread)} | {memory} |"


def at(times: list[float], share: float) -> float:
    """A quantile, NaN of none."""
    return sorted(times)[min(len(times) - 1, int(share * len(times)))] if times else float("nan")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--rows", type=int, default=64)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        model = told.model or tiny(Path(scratch) / "tiny")
        asked = questions(model)
        print(
            "| round | clients | right | others | right/s | first token p50 ms | p99 | token p50 | p99 | memory MiB |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
        rounds = []
        few = max(1, told.rows // 4)
        with serving(model, "--rows", told.rows, "--queue", told.clients) as server:
            rounds.append(("steady", told.clients, told.seconds))
            made = [asyncio.run(drive(*server, asked, told.clients, told.seconds))]
            print(shown(*rounds[0], made[0]), flush=True)
        with serving(model, "--rows", few, "--queue", few) as server:
            for what, clients in (("at capacity", 2 * few), ("four times that", 8 * few)):
                rounds.append((what, clients, told.seconds / 3))
                made.append(asyncio.run(drive(*server, asked, clients, told.seconds / 3)))
                print(shown(*rounds[-1], made[-1]), flush=True)
    steady, capacity, surplus = (set(seen.ends) for seen in made)
    wrong = (steady | capacity) - {"right"} | surplus - {"right", "429"}
    if "429" not in surplus:
        wrong.add("no 429 for a surplus")
    if made[0].growth > 0.05:
        wrong.add("memory that grew")
    print("\nwrong: " + (", ".join(sorted(wrong)) or "nothing"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
