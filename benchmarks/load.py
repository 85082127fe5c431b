"""A server under load: many clients at once, each of whose answers is checked, and more of them than it takes on.

    python benchmarks/load.py [MODEL] [--clients 200] [--seconds 300] [--rows 64]

`viva serve` runs in a process of its own; without MODEL it serves a tiny random model. Each client streams one answer
after another, half of them greedy, half drawn with a seed, and compares each with what the model says when it is asked
alone. Three rounds: as many clients as were asked for, all of whom have a place; as many as a smaller server has places
for; and four times as many as that, of whom the surplus is told 429. The latter two take turns, so that what else the
machine does falls on both.

Reported: answers, time to first token and per token (that of an answer from its first piece of text to its last, over
the pieces), and of the server the time to first token as its log has it (the rest is the network, the clients' and the
wait to be read), the CPU time by the answers that were right, and the memory. Exit code 1 where an answer was lost or
another, a surplus was told anything but 429, or memory grew by more than 5 % from the second third of the first round
to the last: kernels are made first.
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
from typing import TextIO

import psutil

TOKENS, PROMPTS = 32, 48
TURNS = 4  # of the rounds that are compared
MEGA = 2**20
LOGGED = 0.5  # seconds after the last answer in which the server has written its log


@dataclass
class Round:
    """What so many clients saw, and the server: `inside` are its times to first token, `cpu` is what it took. Times in
    seconds, memory in bytes.
    """

    clients: int
    seconds: float = 0.0
    cpu: float = 0.0
    first: list[float] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)
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


@dataclass
class Server:
    """Where it listens, the name of its model, its process, and its log, of which a line is read once."""

    url: str
    model: str
    process: psutil.Process
    log: TextIO

    @property
    def cpu(self) -> float:
        """Seconds so far."""
        return sum(self.process.cpu_times()[:2])

    def firsts(self) -> list[float]:
        """Seconds to the first token of each answer since this was asked before."""
        lines = map(json.loads, self.log)
        return [line["first_token_seconds"] for line in lines if "first_token_seconds" in line]


@contextlib.contextmanager
def serving(model: str | Path, *flags: object):
    """A server."""
    words = [sys.executable, "-m", "viva.cli", "serve", model, "--port", 0, *flags]
    with tempfile.NamedTemporaryFile() as log, open(log.name) as lines, tempfile.TemporaryFile() as said:
        process = subprocess.Popen([*map(str, words)], stdout=log, stderr=said)
        try:
            while not (line := lines.readline()):
                if process.poll() is not None:
                    said.seek(0)
                    raise SystemExit(said.read().decode())
                time.sleep(0.2)
            started = json.loads(line)
            url = f"http://127.0.0.1:{started['port']}"
            yield Server(url, started["model"], psutil.Process(process.pid), lines)
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


async def drive(server: Server, asked: list, seconds: float, seen: Round) -> None:
    """The clients of a round for so long, and the server beside them."""
    until, before = time.monotonic() + seconds, server.cpu
    chances = map(random.Random, range(seen.clients))
    done = asyncio.gather(*(client(server.url, server.model, asked, until, chance, seen) for chance in chances))
    while not done.done():
        seen.memory.append(server.process.memory_info().rss)
        await asyncio.wait({done}, timeout=max(0.2, seconds / 60))
    await done
    await asyncio.sleep(LOGGED)
    seen.seconds += seconds
    seen.cpu += server.cpu - before
    seen.inside += server.firsts()


def shown(what: str, seen: Round) -> str:
    """A row of the table."""
    right = seen.ends["right"]
    others = ", ".join(f"{count:,} {end}" for end, count in sorted(seen.ends.items()) if end != "right") or "none"
    spread = [f"{at(times, p) * 1000:,.0f}" for times in (seen.first, seen.inside, seen.each) for p in (0.5, 0.99)]
    rate, cpu = f"{right / seen.seconds:,.1f}", f"{seen.cpu / max(1, right) * 1000:.1f}"
    memory = f"{seen.memory[0] / MEGA:,.0f} to {seen.memory[-1] / MEGA:,.0f} ({seen.growth:+.1%})"
    cells = [f"{what}, {seen.seconds:g} s", str(seen.clients), f"{right:,}", others, rate, *spread, cpu, memory]
    return f"| {' | '.join(cells)} |"


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
            "| round | clients | right | others | right/s | first token p50 ms | p99 | in the server p50 | p99 "
            "| token p50 | p99 | CPU ms | memory MiB |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
        few = max(1, told.rows // 4)
        steady, capacity, surplus = Round(told.clients), Round(2 * few), Round(8 * few)
        with serving(model, "--rows", told.rows, "--queue", told.clients) as server:
            asyncio.run(drive(server, asked, told.seconds, steady))
            print(shown("steady", steady), flush=True)
        with serving(model, "--rows", few, "--queue", few) as server:
            for seen in TURNS * (capacity, surplus):
                asyncio.run(drive(server, asked, told.seconds / 3 / TURNS, seen))
            print(shown("at capacity", capacity))
            print(shown("four times that", surplus))
    wrong = set(steady.ends | capacity.ends) - {"right"} | set(surplus.ends) - {"right", "429"}
    if "429" not in surplus.ends:
        wrong.add("no 429 for a surplus")
    if steady.growth > 0.05:
        wrong.add("memory that grew")
    print("\nwrong: " + (", ".join(sorted(wrong)) or "nothing"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
