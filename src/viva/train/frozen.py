"""Another model that a run compares its own with, a teacher: as its folder has it, and never trained."""

import torch

from viva.model import folder
from viva.model.whole import Whole
from viva.text.tokens.tokenizer import Tokenizer
from viva.train import checkpoint


def frozen(name: str, tokenizer: Tokenizer, device: torch.device | str) -> Whole:
    """The model that `name` means, a folder, a run's best or one of the hub, in fp32.

    Refused where its tokenizer is another than `tokenizer`: its ids would mean something else to it. Chat templates may
    differ, and the names of roles, which nothing of this reads.
    """
    loaded = folder.load(checkpoint.located(name), torch.float32)
    if loaded.tokenizer is not None:
        free = {part: getattr(tokenizer.fingerprint, part) for part in ("template", "roles", "other_roles")}
        loaded.tokenizer.fingerprint.model_copy(update=free).require(tokenizer.fingerprint, name)
    return loaded.model.requires_grad_(False).eval().to(device)
