"""An adapter on the command line: asked with its base, traced to it, merged with it."""

import pytest

from infer.serving import adapted

COLD = ("--temperature", "0", "--max-new-tokens", "6")


@pytest.fixture
def tuned(tiny, tmp_path):
    """The folder of an adapter of `tiny` that changes what it says."""
    return adapted(tiny, tmp_path / "adapter")


def test_a_merged_model_says_what_base_and_adapter_say(viva, tiny, tuned, tmp_path):
    _, before, _ = viva("generate", tiny, "some words", *COLD)
    _, changed, _ = viva("generate", tiny, "some words", *COLD, "--adapter", tuned)
    out = tmp_path / "merged"
    assert viva("merge", tiny, tuned, out) == (
        0,
        f"saved in {out}; the scores are those of {tiny} with {tuned}\n",
        "",
    )
    assert viva("generate", out, "some words", *COLD)[1] == changed != before


def test_nothing_is_written_where_the_base_is_another(viva, tiny_of, tuned, tmp_path):
    from viva.model.arch import llama

    other = tiny_of(llama, layers=3)
    code, _, err = viva("merge", other, tuned, tmp_path / "merged")
    assert code == 2 and "must be the one it was made for" in err and not (tmp_path / "merged").exists()


def test_an_adapter_is_traced_to_its_base(viva, tiny, tuned):
    code, out, _ = viva("lineage", tuned)
    assert code == 0 and "kind lora, rank 2" in out and f"\n{tiny}\n" in out
