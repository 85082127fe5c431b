"""llama.cpp's server as a peer of `serve.py`: the same weights as a GGUF file, the same requests over HTTP.

It is built apart: https://github.com/ggml-org/llama.cpp, `cmake -B build -DCMAKE_BUILD_TYPE=Release` and `cmake --build
build --target llama-server`; `LLAMA_SERVER` is the path of the program.
"""

import json
import os
import socket
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file

SLOTS = 8  # requests at once


def written(folder: Path, target: Path, half: bool = True) -> Path:
    """The folder of a Qwen2 with tied embeddings as GGUF: matrices in F16, or F32; its tokens are their numbers."""
    import gguf

    config = json.loads((folder / "config.json").read_text())
    layers, vocab = config["num_hidden_layers"], config["vocab_size"]
    out = gguf.GGUFWriter(target, "qwen2")
    out.add_block_count(layers)
    out.add_context_length(config["max_position_embeddings"])
    out.add_embedding_length(config["hidden_size"])
    out.add_feed_forward_length(config["intermediate_size"])
    out.add_head_count(config["num_attention_heads"])
    out.add_head_count_kv(config["num_key_value_heads"])
    out.add_layer_norm_rms_eps(config["rms_norm_eps"])
    out.add_rope_freq_base(config.get("rope_theta") or config["rope_parameters"]["rope_theta"])
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("qwen2")
    out.add_token_list([f"<{number}>" for number in range(vocab)])
    out.add_token_types([gguf.TokenType.NORMAL] * vocab)
    out.add_token_merges(["< >"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, layers)
    for name, tensor in load_file(folder / "model.safetensors").items():
        wide = tensor.ndim == 1 or not half
        numbers = tensor.to(torch.float32 if wide else torch.float16).numpy()
        out.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), numbers)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return target


def started(model: Path, slots: int, context: int) -> str:
    """The address of a server that is ready; it ends with this process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threads = str(torch.get_num_threads())
    words = ["-m", str(model), "--port", str(port), "-np", str(slots), "-c", str(slots * context), "-t", threads]
    process = subprocess.Popen(
        [os.environ["LLAMA_SERVER"], *words, "-tb", threads, "--no-warmup"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    while process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/health")
            return url
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"llama-server ended with {process.returncode}")


def reply(url: str, request: tuple[list[int], int]) -> list[int]:
    """The tokens of one greedy reply."""
    prompt, count = request
    asked = {"prompt": prompt, "n_predict": count, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
    body = json.dumps(asked | {"return_tokens": True}).encode()
    sent = urllib.request.Request(f"{url}/completion", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(sent) as answer:
        told = json.load(answer)
    if told["tokens_predicted"] != count:
        raise RuntimeError(f"{told['tokens_predicted']} tokens in place of {count}")
    return told["tokens"]


def llama_cpp(folder: Path, requests: list[tuple[list[int], int]], on: object):
    """All requests at once, each as a client of its own."""
    if "LLAMA_SERVER" not in os.environ:
        raise SystemExit("LLAMA_SERVER must be the path of llama.cpp's server: build it as llama_cpp.py says")
    model = written(folder, folder.parent / "llama.gguf")  # where nobody looks for a tokenizer
    url = started(model, SLOTS, max(len(prompt) + count for prompt, count in requests) + 8)

    def turn() -> list[list[int]]:
        with ThreadPoolExecutor(len(requests)) as clients:
            return list(clients.map(partial(reply, url), requests))

    return turn, [tokens[:8] for tokens in turn()]
