"""Where a model is that is named by a path, or by its id on the Hugging Face hub."""

from pathlib import Path

from viva.base.errors import Refusal


def located(name: str | Path) -> Path:
    """The folder that `name` means: a path, or a model of the Hugging Face hub, fetched without any pickled file."""
    if Path(name).is_dir():
        return Path(name)
    if Path(name).exists():
        raise Refusal("a model must be a folder", f"the file {name}", "give the folder that holds config.json")
    if str(name).count("/") != 1 or str(name).startswith((".", "/")):
        raise Refusal("a model must be a folder or a hub id such as owner/name", repr(str(name)), "check the path")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(name), allow_patterns=["*.json", "*.safetensors", "*.jinja", "*.txt"]))
    except Exception as error:  # the hub's client raises a dozen kinds: offline, not found, gated
        text = str(error).splitlines()[0]
        raise Refusal(
            f"{name} must be a folder here or a model on the hub", text, "check the name and the network"
        ) from error
