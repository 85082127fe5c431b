"""The config.json of models as they were published: every key is taken, and means what it means to transformers."""

import pytest
import torch
import transformers

from viva.base.choice import names, variant
from viva.base.errors import Refusal
from viva.model import folder
from viva.model.arch import bart
from viva.model.arch._family import Keys
from viva.model.init import initialise

NAMED = {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}
BERT = {
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 768,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
}
TASKS = {"summarization": {"early_stopping": True, "length_penalty": 2.0, "max_length": 142, "num_beams": 4}}
GPT2 = {
    "activation_function": "gelu_new",
    "architectures": ["GPT2LMHeadModel"],
    "attn_pdrop": 0.1,
    "bos_token_id": 50256,
    "embd_pdrop": 0.1,
    "eos_token_id": 50256,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05,
    "n_ctx": 1024,
    "n_embd": 768,
    "n_head": 12,
    "n_layer": 12,
    "n_positions": 1024,
    "resid_pdrop": 0.1,
    "summary_activation": None,
    "summary_first_dropout": 0.1,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "summary_use_proj": True,
    "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
    "vocab_size": 50257,
}
SPECIAL = {"n_special": 0, "predict_special_tokens": True}
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 11008,
    "max_position_embeddings": 2048,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "rms_norm_eps": 1e-06,
    "tie_word_embeddings": False,
    "torch_dtype": "float16",
    "transformers_version": "4.28.0.dev0",
    "use_cache": True,
    "vocab_size": 32000,
}
QWEN = {
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "hidden_act": "silu",
    "hidden_size": 1024,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "max_position_embeddings": 32768,
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
T5 = {
    "architectures": ["T5ForConditionalGeneration"],
    "d_ff": 2048,
    "d_kv": 64,
    "d_model": 512,
    "decoder_start_token_id": 0,
    "dropout_rate": 0.1,
    "eos_token_id": 1,
    "initializer_factor": 1.0,
    "is_encoder_decoder": True,
    "layer_norm_epsilon": 1e-06,
    "n_positions": 512,
    "num_heads": 8,
    "num_layers": 6,
    "output_past": True,
    "pad_token_id": 0,
    "relative_attention_num_buckets": 32,
    "task_specific_params": TASKS,
    "vocab_size": 32128,
}
BART = {
    **NAMED,
    "activation_dropout": 0.1,
    "activation_function": "gelu",
    "add_bias_logits": False,
    "add_final_layer_norm": False,
    "architectures": ["BartModel"],
    "attention_dropout": 0.1,
    "bos_token_id": 0,
    "classif_dropout": 0.1,
    "classifier_dropout": 0.0,
    "d_model": 768,
    "decoder_attention_heads": 12,
    "decoder_ffn_dim": 3072,
    "decoder_layerdrop": 0.0,
    "decoder_layers": 6,
    "decoder_start_token_id": 2,
    "dropout": 0.1,
    "early_stopping": True,
    "encoder_attention_heads": 12,
    "encoder_ffn_dim": 3072,
    "encoder_layerdrop": 0.0,
    "encoder_layers": 6,
    "eos_token_id": 2,
    "forced_bos_token_id": 0,
    "forced_eos_token_id": 2,
    "gradient_checkpointing": False,
    "init_std": 0.02,
    "is_encoder_decoder": True,
    "max_position_embeddings": 1024,
    "no_repeat_ngram_size": 3,
    "normalize_before": False,
    "normalize_embedding": True,
    "num_beams": 4,
    "num_hidden_layers": 6,
    "pad_token_id": 1,
    "scale_embedding": False,
    "task_specific_params": TASKS,
    "torch_dtype": "float32",
    "transformers_version": "4.12.0.dev0",
    "use_cache": True,
    "vocab_size": 50265,
}
SUMMARISES = {
    "_num_labels": 3,
    "activation_dropout": 0.0,
    "architectures": ["BartForConditionalGeneration"],
    "d_model": 1024,
    "extra_pos_embeddings": 2,
    "force_bos_token_to_be_generated": True,
    "length_penalty": 2.0,
    "max_length": 142,
    "min_length": 56,
    "output_past": True,
    "prefix": " ",
    "save_step": 3,
    "static_position_embeddings": False,
    "decoder_attention_heads": 16,
    "encoder_attention_heads": 16,
}
MARIAN = {
    **{key: value for key, value in BART.items() if key not in ("task_specific_params", "no_repeat_ngram_size")},
    "_name_or_path": "/tmp/Helsinki-NLP/opus-mt-de-en",
    "activation_function": "swish",
    "architectures": ["MarianMTModel"],
    "bad_words_ids": [[58100]],
    "d_model": 512,
    "decoder_attention_heads": 8,
    "decoder_start_token_id": 58100,
    "decoder_vocab_size": 58101,
    "encoder_attention_heads": 8,
    "extra_pos_embeddings": 58101,
    "max_length": 512,
    "max_position_embeddings": 512,
    "normalize_embedding": False,
    "pad_token_id": 58100,
    "scale_embedding": True,
    "share_encoder_decoder_embeddings": True,
    "static_position_embeddings": True,
    "vocab_size": 58101,
}
# the sections of CLIP's config.json: transformers 4.16 wrote out every default
TOWER = {
    **NAMED,
    "_name_or_path": "",
    "add_cross_attention": False,
    "architectures": None,
    "attention_dropout": 0.0,
    "bad_words_ids": None,
    "bos_token_id": 0,
    "chunk_size_feed_forward": 0,
    "cross_attention_hidden_size": None,
    "decoder_start_token_id": None,
    "diversity_penalty": 0.0,
    "do_sample": False,
    "dropout": 0.0,
    "early_stopping": False,
    "encoder_no_repeat_ngram_size": 0,
    "eos_token_id": 2,
    "finetuning_task": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "gradient_checkpointing": False,
    "hidden_act": "quick_gelu",
    "hidden_size": 512,
    "initializer_factor": 1.0,
    "initializer_range": 0.02,
    "intermediate_size": 2048,
    "is_decoder": False,
    "is_encoder_decoder": False,
    "layer_norm_eps": 1e-05,
    "length_penalty": 1.0,
    "max_length": 20,
    "min_length": 0,
    "no_repeat_ngram_size": 0,
    "num_attention_heads": 8,
    "num_beam_groups": 1,
    "num_beams": 1,
    "num_hidden_layers": 12,
    "num_return_sequences": 1,
    "output_attentions": False,
    "output_hidden_states": False,
    "output_scores": False,
    "pad_token_id": 1,
    "prefix": None,
    "problem_type": None,
    "pruned_heads": {},
    "remove_invalid_values": False,
    "repetition_penalty": 1.0,
    "return_dict": True,
    "return_dict_in_generate": False,
    "sep_token_id": None,
    "task_specific_params": None,
    "temperature": 1.0,
    "tie_encoder_decoder": False,
    "tie_word_embeddings": True,
    "tokenizer_class": None,
    "top_k": 50,
    "top_p": 1.0,
    "torch_dtype": None,
    "torchscript": False,
    "transformers_version": "4.16.0.dev0",
    "use_bfloat16": False,
}
SIZES = {"layer_norm_eps": 1e-12, "max_position_embeddings": 512, "pad_token_id": 0, "type_vocab_size": 2}
LONGER = {"layer_norm_eps": 1e-05, "max_position_embeddings": 514, "pad_token_id": 1, "type_vocab_size": 1}
ENDS = {"bos_token_id": 0, "eos_token_id": 2}
DISTILBERT = {
    "activation": "gelu",
    "architectures": ["DistilBertForMaskedLM"],
    "attention_dropout": 0.1,
    "dim": 768,
    "dropout": 0.1,
    "hidden_dim": 3072,
    "initializer_range": 0.02,
    "max_position_embeddings": 512,
    "n_heads": 12,
    "n_layers": 6,
    "pad_token_id": 0,
    "qa_dropout": 0.1,
    "seq_classif_dropout": 0.2,
    "sinusoidal_pos_embds": False,
    "tie_weights_": True,
    "vocab_size": 30522,
}
PUBLISHED = {
    "bert-base-uncased": (
        "bert",
        {
            **BERT,
            **SIZES,
            "architectures": ["BertForMaskedLM"],
            "gradient_checkpointing": False,
            "position_embedding_type": "absolute",
            "transformers_version": "4.6.0.dev0",
            "use_cache": True,
            "vocab_size": 30522,
        },
    ),
    "bert-base-NER": (
        "bert",
        {
            **BERT,
            **SIZES,
            **NAMED,
            "_num_labels": 9,
            "architectures": ["BertForTokenClassification"],
            "max_length": 512,
            "output_past": True,
            "vocab_size": 28996,
        },
    ),
    "ms-marco-MiniLM": (
        "bert",
        {
            **BERT,
            **SIZES,
            "architectures": ["BertForSequenceClassification"],
            "id2label": {"0": "LABEL_0"},
            "sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity",
            "vocab_size": 30522,
        },
    ),
    "roberta-base": (
        "roberta",
        {**BERT, **LONGER, **ENDS, "architectures": ["RobertaForMaskedLM"], "vocab_size": 50265},
    ),
    "roberta-base-squad2": (
        "roberta",
        {
            **BERT,
            **LONGER,
            **ENDS,
            "architectures": ["RobertaForQuestionAnswering"],
            "gradient_checkpointing": False,
            "language": "english",
            "name": "Roberta",
            "vocab_size": 50265,
        },
    ),
    "xlm-roberta-base": (
        "xlm-roberta",
        {
            **BERT,
            **LONGER,
            **ENDS,
            "architectures": ["XLMRobertaForMaskedLM"],
            "output_past": True,
            "position_embedding_type": "absolute",
            "use_cache": True,
            "vocab_size": 250002,
        },
    ),
    "distilbert-base-uncased": ("distilbert", DISTILBERT),
    "distilbert-sst-2": (
        "distilbert",
        {
            **DISTILBERT,
            "architectures": ["DistilBertForSequenceClassification"],
            "finetuning_task": "sst-2",
            "id2label": {"0": "NEGATIVE", "1": "POSITIVE"},
            "label2id": {"NEGATIVE": 0, "POSITIVE": 1},
            "output_past": True,
        },
    ),
    "albert-base-v2": (
        "albert",
        {
            **BERT,
            **SIZES,
            "architectures": ["AlbertForMaskedLM"],
            "attention_probs_dropout_prob": 0,
            "bos_token_id": 2,
            "classifier_dropout_prob": 0.1,
            "down_scale_factor": 1,
            "embedding_size": 128,
            "eos_token_id": 3,
            "gap_size": 0,
            "hidden_act": "gelu_new",
            "hidden_dropout_prob": 0,
            "inner_group_num": 1,
            "net_structure_type": 0,
            "num_hidden_groups": 1,
            "num_memory_blocks": 0,
            "vocab_size": 30000,
        },
    ),
    "electra-small": (
        "electra",
        {
            **BERT,
            **SIZES,
            "architectures": ["ElectraForPreTraining"],
            "embedding_size": 128,
            "summary_activation": "gelu",
            "summary_last_dropout": 0.1,
            "summary_type": "first",
            "summary_use_proj": True,
            "vocab_size": 30522,
        },
    ),
    "gpt2": ("gpt2", GPT2),
    "gpt2-medium": ("gpt2", {**GPT2, **SPECIAL, "n_embd": 1024, "n_head": 16, "n_layer": 24}),
    "openai-gpt": (
        "openai-gpt",
        {
            **{key: value for key, value in GPT2.items() if key not in ("activation_function", *ENDS)},
            **SPECIAL,
            "afn": "gelu",
            "architectures": ["OpenAIGPTLMHeadModel"],
            "n_ctx": 512,
            "n_positions": 512,
            "vocab_size": 40478,
        },
    ),
    "llama-7b": ("llama", {**LLAMA, "max_sequence_length": 2048, "pad_token_id": 0}),
    "Llama-2-7b": (
        "llama",
        {
            **LLAMA,
            "attention_bias": False,
            "max_length": 4096,
            "max_position_embeddings": 4096,
            "num_key_value_heads": 32,
            "pretraining_tp": 1,
            "rope_scaling": None,
        },
    ),
    "Llama-3.1-8B": (
        "llama",
        {
            **LLAMA,
            "attention_bias": False,
            "attention_dropout": 0.0,
            "eos_token_id": [128001, 128008, 128009],
            "intermediate_size": 14336,
            "max_position_embeddings": 131072,
            "mlp_bias": False,
            "num_key_value_heads": 8,
            "pretraining_tp": 1,
            "rope_scaling": {
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192,
                "rope_type": "llama3",
            },
            "rope_theta": 500000.0,
            "vocab_size": 128256,
        },
    ),
    "Mistral-7B": (
        "mistral",
        {
            **LLAMA,
            "architectures": ["MistralForCausalLM"],
            "intermediate_size": 14336,
            "max_position_embeddings": 32768,
            "num_key_value_heads": 8,
            "rope_theta": 10000.0,
            "sliding_window": 4096,
        },
    ),
    "Qwen2.5-0.5B": (
        "qwen2",
        {
            **QWEN,
            "architectures": ["Qwen2ForCausalLM"],
            "max_window_layers": 24,
            "sliding_window": 32768,
            "use_mrope": False,
        },
    ),
    "Qwen3-0.6B": (
        "qwen3",
        {
            **QWEN,
            "architectures": ["Qwen3ForCausalLM"],
            "attention_bias": False,
            "head_dim": 128,
            "max_window_layers": 28,
            "rope_scaling": None,
            "sliding_window": None,
        },
    ),
    "gemma-2-2b": (
        "gemma2",
        {
            "architectures": ["Gemma2ForCausalLM"],
            "attention_bias": False,
            "attention_dropout": 0.0,
            "attn_logit_softcapping": 50.0,
            "bos_token_id": 2,
            "cache_implementation": "hybrid",
            "eos_token_id": 1,
            "final_logit_softcapping": 30.0,
            "head_dim": 256,
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_activation": "gelu_pytorch_tanh",
            "hidden_size": 2304,
            "initializer_range": 0.02,
            "intermediate_size": 9216,
            "max_position_embeddings": 8192,
            "num_attention_heads": 8,
            "num_hidden_layers": 26,
            "num_key_value_heads": 4,
            "pad_token_id": 0,
            "query_pre_attn_scalar": 256,
            "rms_norm_eps": 1e-06,
            "rope_theta": 10000.0,
            "sliding_window": 4096,
            "torch_dtype": "float32",
            "use_cache": True,
            "vocab_size": 256000,
        },
    ),
    "t5-small": ("t5", T5),
    "flan-t5-base": (
        "t5",
        {
            **T5,
            "d_model": 768,
            "feed_forward_proj": "gated-gelu",
            "num_decoder_layers": 12,
            "num_heads": 12,
            "num_layers": 12,
            "relative_attention_max_distance": 128,
            "tie_word_embeddings": False,
            "use_cache": True,
        },
    ),
    "bart-base": ("bart", BART),
    "bart-large-cnn": ("bart", {**BART, **SUMMARISES}),
    "opus-mt-de-en": ("marian", MARIAN),
    "vit-base": (
        "vit",
        {
            **BERT,
            **NAMED,
            "architectures": ["ViTForImageClassification"],
            "attention_probs_dropout_prob": 0.0,
            "encoder_stride": 16,
            "hidden_dropout_prob": 0.0,
            "image_size": 224,
            "layer_norm_eps": 1e-12,
            "num_channels": 3,
            "patch_size": 16,
            "qkv_bias": True,
        },
    ),
    "clip's text_config": ("clip_text_model", {**TOWER, "max_position_embeddings": 77, "vocab_size": 49408}),
    "clip's vision_config": (
        "clip_vision_model",
        {
            **TOWER,
            "hidden_size": 768,
            "image_size": 224,
            "intermediate_size": 3072,
            "num_attention_heads": 12,
            "patch_size": 32,
        },
    ),
}
FAMILIES = {module.MODEL_TYPE: module for module in (variant("viva.model.arch", n) for n in names("viva.model.arch"))}


def read(model_type: str, said: dict):
    keys = Keys({key: value for key, value in said.items() if key != "model_type"})
    config = FAMILIES[model_type].from_hf(keys)
    keys.finish()
    return config.spec()


@pytest.mark.parametrize(("model_type", "said"), PUBLISHED.values(), ids=PUBLISHED)
def test_every_key_of_a_published_model_is_taken_as_transformers_takes_it(model_type, said):
    filled = transformers.CONFIG_MAPPING[model_type](**said).to_dict()
    assert read(model_type, said) == read(model_type, filled)


@pytest.mark.parametrize("model_type", sorted({model_type for model_type, _ in PUBLISHED.values()} | {"qwen2_moe"}))
def test_every_default_of_their_class_is_taken(model_type):
    read(model_type, transformers.CONFIG_MAPPING[model_type]().to_dict())


@pytest.mark.parametrize(
    ("name", "key", "value", "expected"),
    [
        ("bart-base", "normalize_before", True, "normalize_before in config.json must be False, but found True"),
        ("bart-base", "static_position_embeddings", True, "static_position_embeddings .* must be False"),
        ("bart-base", "normalize_embedding", False, "normalize_embedding .* must be True, but found False"),
        ("bart-base", "add_final_layer_norm", True, "add_final_layer_norm .* must be False"),
        ("bart-base", "add_bias_logits", True, "add_bias_logits .* must be False"),
        ("bart-base", "extra_pos_embeddings", 0, "extra_pos_embeddings .* must be 2, but found 0"),
        ("opus-mt-de-en", "normalize_embedding", True, "normalize_embedding .* must be False"),
        (
            "gemma-2-2b",
            "sliding_window",
            None,
            "sliding_window .* must be a number of tokens for gemma2, but found null",
        ),
        ("openai-gpt", "n_special", 3, "n_special .* must be 0, but found 3"),
        ("bert-base-uncased", "pruned_heads", {"0": [1]}, r"pruned_heads .* must be \{\}, but found"),
        ("llama-7b", "add_cross_attention", True, "add_cross_attention .* must be False, but found"),
        (
            "Qwen2.5-0.5B",
            "quantization_config",
            {"bits": 4},
            "quantization_config in .* must be None, but found {'bits",
        ),
    ],
)
def test_a_key_that_changes_the_computation_is_refused(name, key, value, expected):
    model_type, said = PUBLISHED[name]
    with pytest.raises(Refusal, match=expected):
        read(model_type, {**said, key: value})


def test_a_bare_bart_has_no_bias_on_its_scores(tmp_path):
    """bart-base is a BartModel: transformers opens it to write with a bias of zeros, in half precision too."""
    config = transformers.BartConfig(
        vocab_size=64, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4, encoder_ffn_dim=48
    )
    transformers.BartModel(config).to(torch.bfloat16).save_pretrained(tmp_path / "m")
    twin = transformers.BartForConditionalGeneration.from_pretrained(tmp_path / "m", dtype=torch.float32).eval()
    mine, ids = folder.load(tmp_path / "m", torch.float32).model, torch.arange(3, 12)[None]
    scores = mine(ids, memory=mine.encode(ids))
    torch.testing.assert_close(scores, twin(ids, decoder_input_ids=ids).logits, atol=1e-5, rtol=1e-5)
    assert folder.load(tmp_path / "m").model.head.bias.dtype == torch.bfloat16


def test_dropout_inside_barts_feed_forward_networks_falls_where_the_twins_does(tmp_path, monkeypatch):
    """From one seed the same numbers are drawn in the same order, once those that choose layers are not drawn."""
    config = bart.TINY.model_copy(update={"inner_dropout": 0.3, "dropout": 0.2})
    mine = initialise(config.spec().build(), 0).train()
    folder.save(tmp_path / "m", config, mine)
    assert folder.load(tmp_path / "m").config.spec() == config.spec()
    twin = transformers.BartForConditionalGeneration.from_pretrained(tmp_path / "m").train()
    monkeypatch.setattr(torch, "rand", lambda *shape: torch.ones(*shape))
    ids, found = torch.arange(3, 27).view(2, 12), []
    for run in (lambda: mine(ids, memory=mine.encode(ids)), lambda: twin(ids, decoder_input_ids=ids).logits):
        torch.manual_seed(6)
        found.append(run())
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)
