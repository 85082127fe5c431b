"""What `viva serve` refuses before it listens."""

import builtins

import pytest

from viva.model.arch import bert


def test_an_open_door_must_be_meant(viva, tiny):
    code, _, err = viva("serve", tiny, "--host", "0.0.0.0")
    assert code == 2 and "a server that others reach must have keys, but found --host 0.0.0.0 and none" in err
    assert "give --api-key-file FILE, or --insecure if everyone who reaches the port may use the model" in err


@pytest.mark.parametrize("told", ["brief", "=folder", "brief="])
def test_adapters_have_names(viva, tiny, told):
    code, _, err = viva("serve", tiny, "--adapter", told)
    assert code == 2 and "an adapter must be given as NAME=FOLDER, each name once" in err


def test_adapters_are_others_than_the_model(viva, tiny):
    code, _, err = viva("serve", tiny, "--name", "brief", "--adapter", "brief=folder")
    assert code == 2 and "an adapter must have another name than the model, but found 'brief'" in err


def test_bounds_are_bounded(viva, tiny):
    code, _, err = viva("serve", tiny, "--queue", "-1")
    assert code == 2 and "queue" in err and "greater than or equal to 0" in err


@pytest.mark.parametrize("port", ["-1", "65536", "99999"])
def test_a_port_has_sixteen_bits(viva, tiny, port):
    code, _, err = viva("serve", tiny, "--port", port)
    assert code == 2 and "--port" in err and ("<= 65535" in err or ">= 0" in err)


def test_what_was_chosen_is_said(viva, tiny, monkeypatch):
    """Memory, number format and threads, before it listens."""
    monkeypatch.setattr("viva.serve.server.Server.run", lambda server: server.service.engine.close())
    code, _, err = viva("serve", tiny, "--threads", "1", "--tokens", "512")
    assert code == 0, err
    memory, chosen = err.splitlines()[-2:]
    assert memory.startswith("viva: memory: weights ") and chosen.startswith("viva: float32, 1 thread: ")
    code, _, err = viva("serve", tiny, "--threads", "0")
    assert code == 2 and "--threads" in err and ">= 1" in err


def test_a_model_that_cannot_be_served_is_refused(viva, tiny_of, tiny):
    code, _, err = viva("serve", tiny_of(bert))
    assert code == 2 and "a model must have a decoder to generate text" in err
    code, _, err = viva("serve", tiny, "--embed", tiny)
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
