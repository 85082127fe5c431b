"""Where a model is that is named by a path, or by its id on the Hugging Face hub."""

from pathlib import Path

from viva.base.errors import Refusal
from viva.base.files import near


def located(name: str | Path) -> Path:
    """The folder that `name` means: a path, or a model of the Hugging Face hub, fetched without any pickled file."""
    path = Path(name)
    if path.is_dir():
        return path
    if path.exists():
        raise Refusal("a model must be a folder", f"the file {name}", "give the folder that holds config.json")
    if str(name).count("/") != 1 or str(name).startswith((".", "/")):
        must = "a model must be a folder or a hub id such as owner/name"
        raise Refusal(must, repr(str(name)), near(path, folders=True))
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(name), allow_patterns=["*.json", "*.safetensors", "*.jinja", "*.txt"]))
    except Exception as error:  # the hub's client raises a dozen kinds: offline, not found, gated
        must, text = f"{name} must be a folder here or a model on the hub", str(error).splitlines()[0]
        if path.parent.is_dir():  # so that a folder in it was meant, most likely
            raise Refusal(must, f"neither (of the hub: {text})", near(path, folders=True)) from error
        raise Refusal(must, text, "check the name and the network") from error
