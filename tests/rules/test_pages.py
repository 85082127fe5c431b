"""What documents show is what happens: tables are printed by the commands above them, and snippets run."""

import re
import shlex
from pathlib import Path

import pytest
import torch

import viva
from viva.base.config import read
from viva.cli import main
from viva.model import folder
from viva.model.arch import llama
from viva.model.init import initialise
from viva.model.layout import Layout
from viva.model.mask.full import Full
from viva.train.recipe import Recipe

DOCS = Path(__file__).parents[2] / "docs"
FAMILIES = (DOCS / "families.md").read_text(encoding="utf-8")
TABLES = dict(re.findall(r"^`viva (compare [^`]+)`\n\n((?:\|.*\n)+)", FAMILIES, re.MULTILINE))
[SNIPPET] = re.findall(r"```python\n(.*?)```", (DOCS / "architecture.md").read_text(encoding="utf-8"), re.DOTALL)

PAGES = "".join(page.read_text(encoding="utf-8") for page in (DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))))
RUNS = re.findall(r"^viva train (recipes/.*)$", PAGES.replace("\\\n", ""), re.MULTILINE)  # lines that go on joined


@pytest.mark.parametrize("words", RUNS)
def test_a_run_that_a_page_shows_is_a_recipe(words):
    recipe, *overrides = shlex.split(words)
    read(Recipe, DOCS.parent / recipe, overrides)


def test_the_page_of_families_has_a_command_for_every_table():
    assert list(TABLES) == [
        "compare bert llama t5",
        "compare gpt2 llama qwen2 gemma2",
        "compare original t5 bart",
        "compare rnn original",
    ]
    assert "".join(TABLES.values()) == "".join(line for line in FAMILIES.splitlines(True) if line.startswith("|"))


@pytest.mark.parametrize("command", TABLES)
def test_a_table_is_what_its_command_prints(command, capsys):
    assert main(command.split()) == 0
    assert capsys.readouterr().out == TABLES[command]


def test_a_mask_takes_the_place_of_causality(tmp_path):
    """With the page's mask a model computes what the same weights with a window in the Spec do."""
    folder.save(tmp_path / "tiny", llama.TINY, initialise(llama.TINY.spec().build()))
    names = {}
    exec(SNIPPET.replace("runs/quickstart", str(tmp_path / "tiny")), names)
    spec = llama.TINY.spec()
    [block] = spec.decoder.blocks
    block = block.model_copy(update={"attention": block.attention.model_copy(update={"window": 8})})
    windowed = (
        spec.model_copy(update={"decoder": spec.decoder.model_copy(update={"blocks": (block,)})})
        .build()
        .to(names["where"])
    )
    windowed.load_state_dict(names["model"].state_dict())
    torch.testing.assert_close(names["states"], windowed.hidden(names["ids"]))
    model, ids = viva.load(tmp_path / "tiny").model, names["ids"]
    assert not torch.allclose(names["states"], model.hidden(ids))
    everything = Layout.packed(((24,),), 24, names["where"], Full())
    changed = torch.cat([ids[:, :-1], (ids[:, -1:] + 1) % 64], 1)
    assert torch.equal(model.hidden(ids)[:, 0], model.hidden(changed)[:, 0])
    assert not torch.allclose(model.hidden(ids, everything)[:, 0], model.hidden(changed, everything)[:, 0])
