"""`viva serve` as a process: killed it leaves its clients with an error and starts again; told to end it ends well."""

import json
import signal
import subprocess
import sys
import time

import httpx2
import openai
import pytest
from tests.serve.live import tiny

import viva

HI = [{"role": "user", "content": "hi"}]
COLD = {"model": "tiny", "messages": HI, "temperature": 0, "extra_body": {"ignore_eos": True}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With a context so long that a stream of it is not over before it is killed."""
    return tiny(tmp_path_factory.mktemp("served") / "tiny", context=20_000)


class Process:
    """A server and the port it told of in its log."""

    def __init__(self, folder, *flags, port=0):
        words = [
            sys.executable,
            "-m",
            "viva.cli",
            "serve",
            str(folder),
            "--port",
            str(port),
            "--tokens",
            "30000",
            *flags,
        ]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        told = self.process.stdout.readline()
        assert told, self.process.stderr.read()
        self.started = json.loads(told)
        self.url = f"http://127.0.0.1:{self.started['port']}"

    def stream(self, tokens):
        client = openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0)
        return client.chat.completions.create(stream=True, max_tokens=tokens, **COLD)


def text(events):
    return "".join(event.choices[0].delta.content or "" for event in events)


def test_killed_it_starts_again(folder):
    first = Process(folder)
    try:
        assert (first.started["event"], first.started["model"]) == ("started", "tiny")
        events = first.stream(19_000)
        next(events), next(events)
        first.process.kill()
        with pytest.raises((httpx2.HTTPError, openai.APIError)):
            text(events)
        again = Process(folder, port=first.started["port"])
        try:
            assert text(again.stream(8)) == viva.load(folder).chat(HI, temperature=0, max_new_tokens=8)
        finally:
            again.process.kill()
            again.process.communicate()
    finally:
        first.process.kill()
        first.process.communicate()


@pytest.mark.slow
def test_told_to_end(folder):
    """A stream that ends in time ends whole, another is told; then the process is gone, and its last line says why."""
    server = Process(folder, "--grace", "1.5")
    try:
        long, short = server.stream(19_000), server.stream(30)
        next(long), next(short)
        server.process.send_signal(signal.SIGTERM)
        assert len(list(short)) >= 2
        with pytest.raises(openai.APIError, match="the server is shutting down"):
            text(long)
        began = time.monotonic()
        out, err = server.process.communicate(timeout=20)
        assert time.monotonic() - began < 10 and server.process.returncode == -signal.SIGTERM
        lines = [json.loads(line) for line in out.splitlines()]
        assert [line["event"] for line in lines if "event" in line] == ["ending"]
        assert sorted(line.get("code", "") for line in lines if "path" in line) == ["", "shutting_down"]
        assert err.startswith("viva: memory: weights ") and "Traceback" not in err
    finally:
        server.process.kill()
        server.process.communicate()
