"""The tokens that stand for bytes, by which sentencepiece writes characters that are not in the vocabulary."""

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
