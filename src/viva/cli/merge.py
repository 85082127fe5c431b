"""`viva merge`: a model and an adapter made one."""

from pathlib import Path


def merge(base: str, adapter: str, out: Path, *, dtype: str | None = None) -> None:
    """Take an adapter into the weights of its base, and save the one model, which needs neither.

    The scores of both are compared first; nothing is written where they differ by more than rounding.

    Example: viva merge models/qwen2 runs/lora-alpaca merged

    Parameters
    ----------
    base
        the checkpoint or run folder, Hugging Face folder or hub id that the adapter was made for
    adapter
        the folder of an adapter, of viva's or of PEFT's, or a run that trained one
    out
        the folder to write
    dtype
        float32, bfloat16 or float16; left out, what the base's file has, or float32 where that is faster
    """
    from viva import api

    model = api.load(base, dtype, adapter).merged()
    model.save(out)
    print(f"saved in {out}; the scores are those of {base} with {adapter}")
