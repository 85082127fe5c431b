"""Text out of a model: filters of a distribution, decoding with a cache, streaming."""
