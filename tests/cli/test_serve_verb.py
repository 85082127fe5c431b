"""What `viva serve` refuses before it listens."""

import asyncio
import builtins
import errno
import gc
import os
import socket

import httpx2
import pytest

from viva import api
from viva.cli import serve
from viva.model.arch import bert
from viva.serve import listen, origins


def test_an_open_door_must_be_meant(viva, tiny):
    code, _, err = viva("serve", tiny, "--host", "0.0.0.0")
    assert code == 2 and "a server that others reach must have keys, but found --host 0.0.0.0 and none" in err
    assert "give --api-key-file FILE, or --insecure if everyone who reaches the port may use the model" in err


@pytest.fixture
def unloaded(monkeypatch):
    """Nothing is loaded."""
    monkeypatch.setattr(api, "load", lambda *told: pytest.fail("a model was loaded"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_port_that_is_taken_is_refused_before_a_model_is_loaded(viva, unloaded, host):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, _, err = viva("serve", "tiny", "--host", host, "--port", port)
    said = f"--host {host} and --port {port} must be free to listen at, but found {os.strerror(errno.EADDRINUSE)}"
    assert code == 2 and f"{said}. To fix it, end what listens there, or give another --port; 0 takes a free" in err


@pytest.mark.parametrize(("host", "said"), [
    ("no.such.host.invalid", "a host must have an address, but found none of 'no.such.host.invalid' ("),
    ("a" * 64 + ".example", "a host must have an address, but found none of"),
    ("192.0.2.1", f"--host 192.0.2.1 and --port 8000 must be free to listen at, but found "
                  f"{os.strerror(errno.EADDRNOTAVAIL)}. To fix it, give an address of this machine, such as 127.0.0.1"),
])  # fmt: skip
def test_a_host_that_is_not_this_machine_is_refused_before_a_model_is_loaded(viva, unloaded, host, said):
    code, _, err = viva("serve", "tiny", "--host", host, "--insecure")
    assert code == 2 and said in err


def test_all_addresses_of_a_host_share_a_free_port(monkeypatch):
    """127.0.0.1 and 127.0.0.2 stand for the two that localhost may have; one that this machine has not is left out."""
    known = [(socket.AF_INET, address) for address in ("127.0.0.1", "192.0.2.1", "127.0.0.2", "127.0.0.1")]
    found = [(family, socket.SOCK_STREAM, 6, "", (address, 0)) for family, address in known]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *told, **more: found)
    made = listen.bound("localhost", 0)
    (first, port), (second, same) = (each.getsockname() for each in made)
    for each in made:
        each.close()
    assert (first, second) == ("127.0.0.1", "127.0.0.2") and port == same > 0


@pytest.mark.parametrize("told", ["brief", "=folder", "brief="])
def test_adapters_have_names(viva, tiny, told):
    code, _, err = viva("serve", tiny, "--adapter", told)
    assert code == 2 and "an adapter must be given as NAME=FOLDER, each name once" in err


@pytest.mark.parametrize("told", [
    ["--name", "brief", "--adapter", "brief=folder"],
    ["--name", "brief", "--embed", "brief"],
    ["--embed", "brief=emb", "--adapter", "brief=folder"],
])  # fmt: skip
def test_each_model_has_a_name_of_its_own(viva, tiny, unloaded, told):
    code, _, err = viva("serve", tiny, *told)
    assert code == 2 and "each model must have a name of its own, but found two called 'brief'. To fix it, give" in err


def test_a_name_is_not_empty(viva, tiny, unloaded):
    code, _, err = viva("serve", tiny, "--name", "")
    assert (
        code == 2 and "--name must be what requests call the model, but found an empty one. To fix it, leave it" in err
    )


NEVER = [
    "https://example.org/",
    "foo",
    "example.org",
    "https://Example.org",
    "https://example.org:443",
    "null",
    "https://",
]


@pytest.mark.parametrize("origin", NEVER)
def test_an_origin_that_no_browser_sends_is_refused(viva, tiny, unloaded, origin):
    code, _, err = viva("serve", tiny, "--allow-origin", "https://a.example", "--allow-origin", origin)
    assert code == 2 and "an origin must be written as browsers send it, scheme://host or scheme://host:port" in err
    assert f"but found {origin!r}. To fix it, write https://example.org, with no path behind it" in err


def test_origins_that_browsers_send_are_taken():
    origins.require(
        ["*", "https://example.org", "http://localhost:3000", "http://[::1]:8080", "chrome-extension://abc"]
    )


@pytest.mark.parametrize("told", ["=emb", "vectors="])
def test_a_model_for_embeddings_has_a_folder_and_may_have_a_name(viva, tiny, unloaded, told):
    code, _, err = viva("serve", tiny, "--embed", told)
    assert code == 2 and f"must be given as FOLDER or NAME=FOLDER, but found '{told}'" in err


def test_a_model_for_embeddings_is_called_as_told(tmp_path, monkeypatch):
    """A folder that is there is a folder, whatever its name has."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b").mkdir()
    assert serve._embedder("a=b") == ("a=b", "a=b") and serve._embedder("x/y") == ("x/y", "x/y")
    assert serve._embedder("v=a=b") == ("v", "a=b")


def test_bounds_are_bounded(viva, tiny):
    code, _, err = viva("serve", tiny, "--queue", "-1")
    assert code == 2 and "queue" in err and "greater than or equal to 0" in err


@pytest.mark.parametrize("port", ["-1", "65536", "99999"])
def test_a_port_has_sixteen_bits(viva, tiny, port):
    code, _, err = viva("serve", tiny, "--port", port)
    assert code == 2 and "--port" in err and ("<= 65535" in err or ">= 0" in err)


@pytest.fixture
def seen(monkeypatch):
    """How many objects the garbage collector goes through as each server begins to listen, which here ends at once."""
    counted = []

    def run(server, sockets):
        counted.append(len(gc.get_objects()))
        server.service.engine.close()

    monkeypatch.setattr("viva.serve.server.Server.run", run)
    yield counted
    gc.unfreeze()


def test_a_server_collects_no_garbage_among_what_it_has_loaded(viva, tiny, seen):
    """A full collection would halt it for 0.1 s each time."""
    assert len(gc.get_objects()) > 100_000
    code, _, err = viva("serve", tiny, "--tokens", "512")
    assert code == 0, err
    assert seen[0] < 5_000


def test_what_was_chosen_is_said(viva, tiny, seen):
    """Memory, number format, threads and what company does, before it listens."""
    code, _, err = viva("serve", tiny, "--threads", "1", "--tokens", "512")
    assert code == 0, err
    memory, chosen, company = err.splitlines()[-3:]
    assert memory.startswith("viva: memory: weights ") and chosen.startswith("viva: float32, 1 thread: ")
    assert company == "viva: replies have the same bits in any company"
    code, _, err = viva("serve", tiny, "--threads", "0")
    assert code == 2 and "--threads" in err and ">= 1" in err


@pytest.mark.parametrize(("flags", "status"), [
    ([], 421),
    (["--host", "localhost"], 421),
    (["--insecure"], 200),
    (["--host", "0.0.0.0", "--insecure"], 200),
    (["--api-key-file", "keys.txt"], 200),
    (["--host", "0.0.0.0", "--api-key-file", "keys.txt"], 200),
])  # fmt: skip
def test_who_may_ask_by_another_name(viva, tiny, monkeypatch, tmp_path, flags, status):
    """Whoever has a key, or is meant to; else nobody, even where it listens to this machine alone."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keys.txt").write_text("a key of some length\n")
    statuses = []

    async def ask(app):
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://proxy.example") as client:
            statuses.append((await client.get("/health")).status_code)

    def run(server, sockets):
        asyncio.run(ask(server.config.app))
        server.service.engine.close()

    monkeypatch.setattr("viva.serve.server.Server.run", run)
    code, _, err = viva("serve", tiny, "--threads", "1", "--tokens", "512", "--port", "0", *flags)
    assert (code, statuses) == (0, [status]), err


def test_a_model_that_cannot_be_served_is_refused(viva, tiny_of, tiny):
    code, _, err = viva("serve", tiny_of(bert))
    assert code == 2 and "a model must have a decoder to generate text" in err
    code, _, err = viva("serve", tiny, "--embed", f"vectors={tiny}")
    assert code == 2 and "a model must have the head embed to give vectors" in err


def test_the_extra_is_named(viva, tiny, monkeypatch):
    there = builtins.__import__

    def none(name, *told, **more):
        if name == "fastapi":
            raise ModuleNotFoundError("No module named 'fastapi'", name="fastapi")
        return there(name, *told, **more)

    monkeypatch.setattr(builtins, "__import__", none)
    code, _, err = viva("serve", tiny)
    assert code == 2 and "serving must have its web framework, but found no package fastapi" in err
    assert "pip install 'viva[serve]'" in err
