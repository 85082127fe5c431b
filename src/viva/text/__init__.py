"""From raw text to token ids a model can be trained on: tokenizer, chat template, corpora, token cache, packing."""
