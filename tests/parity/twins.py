"""A model of ours beside its twin in transformers, for the tests that compare the two."""

import torch
import transformers

from shaken import shaken
from viva.base.choice import names, variant
from viva.base.config import Config
from viva.model import folder as checkpoint
from viva.model.arch._family import their_kind
from viva.model.init import initialise
from viva.model.transformer import Transformer

FAMILIES = "viva.model.arch"
ATOL = 1e-5
B, T, S = 2, 24, 17
# families without a twin in transformers, and the tests that take its place
WITHOUT = {
    "custom": (  # any Spec at all: its parts, each against its formula
        "contract/test_scores.py::test_a_score_is_its_formula",
        "contract/test_relative.py::test_a_scheme_is_its_papers_formula",
        "contract/test_norms_and_ffns.py::test_where_a_norm_stands_by_hand",
    ),
    "original": (  # against torch.nn.Transformer
        "parity/test_original.py::test_states_and_attention_weights_of_every_layer",
        "parity/test_original.py::test_logits_and_gradients",
        "parity/test_original.py::test_the_loss_is_torchs",
        "parity/test_original.py::test_cached_decoding",
        "parity/test_original.py::test_packed_pairs_are_each_pair_alone",
        "parity/test_original.py::test_a_saved_folder_is_the_same_model",
    ),
    "transfo_xl": (  # against the paper's equations
        "parity/test_transfo_xl.py::test_segments_and_their_gradients_are_the_papers",
        "parity/test_transfo_xl.py::test_a_cache_reads_as_one_pass_does",
        "parity/test_transfo_xl.py::test_a_saved_folder_is_the_same_model",
    ),
    "qwen": (  # against the paper's formulas
        "parity/test_qwen1.py::test_logits_and_gradients_are_those_of_the_formulas",
        "parity/test_qwen1.py::test_cached_decoding_past_the_trained_length",
        "parity/test_qwen1.py::test_the_published_config_is_understood",
    ),
    "rnn": (  # against torch.nn
        "contract/test_recurrent.py::test_an_encoder_is_a_loop_over_cells",
        "contract/test_recurrent.py::test_a_decoder_goes_on_from_the_encoders_last_state_and_attends_to_it",
        "contract/test_recurrent.py::test_one_token_at_a_time_is_the_whole_at_once",
    ),
    "cnn": ("contract/test_recurrent.py::test_a_convolution_is_conv1d_over_each_document",),
}


def examples() -> dict[str, Config]:
    """The tiny example of each family with a twin; where there is none, the ladder says so."""
    families = {name: variant(FAMILIES, name) for name in names(FAMILIES) if name not in WITHOUT}
    return {name: family.TINY for name, family in families.items() if hasattr(family, "TINY")}


class Pair:
    """Our model, and the twin opened from the folder that we saved. Norms are away from 1 and biases away from 0, so
    that a forgotten or swapped one shows.
    """

    def __init__(self, name: str, config: Config, folder):
        self.name, self.family, self.config, self.folder = name, variant(FAMILIES, name), config, folder
        self.ours = shaken(initialise(Transformer(config.spec()), seed=1), by=0.1, seed=2).eval()
        checkpoint.save(folder, config, self.ours)
        architecture = getattr(transformers, self.family.HEADS[their_kind(config.spec().head)])
        self.twin = architecture.from_pretrained(folder, attn_implementation="eager").eval()
        self.x = self._inputs()
        self.source = ids(config.vocab, B, S) if self.both else None

    def _inputs(self) -> torch.Tensor:
        patches = self.ours.spec.patches
        if patches is None:
            return ids(self.config.vocab, B, T)
        shape = (B, patches.channels, patches.image, patches.image)
        return torch.randn(shape, generator=torch.Generator().manual_seed(3))

    @property
    def both(self) -> bool:
        return self.ours.spec.encoder is not None and self.ours.spec.decoder is not None

    @property
    def sees(self) -> bool:
        return self.ours.spec.patches is not None

    @property
    def caches(self) -> bool:
        """Whether the twin keeps keys and values; GPT-1's does not."""
        return self.family.MODEL_TYPE != "openai-gpt"

    def mine(self, x: torch.Tensor, **given) -> torch.Tensor:
        memory = self.ours.encode(self.source) if self.both else None
        return self.ours(x, memory=memory, **given)

    def theirs(self, x: torch.Tensor, source: torch.Tensor | None = None, **given) -> torch.Tensor:
        source = self.source if source is None else source
        return output(self.twin(**self.read(x, source), **given))

    def read(self, x: torch.Tensor, source: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """What the twin calls its inputs."""
        if self.both:
            return {"input_ids": source, "decoder_input_ids": x}
        return {"pixel_values" if self.sees else "input_ids": x}


def output(found) -> torch.Tensor:
    """What a twin's head gives; of the head for spans both scores."""
    if "start_logits" in found:
        return torch.stack((found.start_logits, found.end_logits), -1)
    return next(found[name] for name in ("logits", "image_embeds", "last_hidden_state") if name in found)


def ids(vocab: int, *shape: int) -> torch.Tensor:
    return torch.randint(3, vocab, shape, generator=torch.Generator().manual_seed(3))
