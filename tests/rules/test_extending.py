"""docs/extending.md is walked: its files, put into a temporary folder, are variants like those of the package."""

import json
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
import transformers
import yaml
from torch.nn.functional import softplus

import viva
from viva.base import choice
from viva.base.errors import Refusal
from viva.model import folder
from viva.model.init import initialise
from viva.model.layout import Layout

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`src/viva/(\S+\.py)`:\n\n```python\n(.*?)```", PAGE, re.DOTALL))
[RECIPE] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


FOLDERS = {name: "viva." + ".".join(Path(name).parts[:-1]) for name in FILES}
THERE = {folder: choice.names(folder) for folder in FOLDERS.values()}
# a checkout in which the page was followed has them already
ADDED = [name for name, folder in FOLDERS.items() if Path(name).stem not in THERE[folder]]


@pytest.fixture
def extended(tmp_path, monkeypatch):
    """The package as if the page's files stood in its folders."""
    for name in ADDED:
        path = tmp_path / "added" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FILES[name], encoding="utf-8")
        package = import_module(FOLDERS[name])
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(path.parent)])
    choice.names.cache_clear()
    yield tmp_path
    for name in ADDED:
        module = "viva." + ".".join(Path(name).with_suffix("").parts)
        sys.modules.pop(module, None)
        parent, _, leaf = module.rpartition(".")
        vars(import_module(parent)).pop(leaf, None)
    monkeypatch.undo()
    choice.names.cache_clear()


def test_the_page_adds_one_file_each():
    assert sorted(FILES) == ["model/arch/starcoder2.py", "model/position/kerple.py"]


def test_the_scheme_is_its_formula_and_trains(extended):
    lines = [json.dumps({"text": f"one two three {n} and some more words"}) for n in range(60)]
    (extended / "data.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    changes = {"out": str(extended / "run"), "data.path": str(extended / "data.jsonl"), "train.device": "cpu"}
    done = viva.train(yaml.safe_load(RECIPE), changes)
    model = viva.load(done.checkpoint).model
    [scheme] = model.decoder.positions
    assert scheme.r1.abs().sum() > 0  # it moved away from where it began
    bias = scheme.table(Layout.one_document(5))[0]
    r1s, r2s = scheme.r1.detach().flatten(), scheme.r2.detach().flatten()
    for head, (r1, r2) in enumerate(zip(r1s, r2s, strict=True)):
        expected = [
            [float(-softplus(r1) * torch.log(1 + softplus(r2) * abs(m - n))) for n in range(5)] for m in range(5)
        ]
        torch.testing.assert_close(bias[head], torch.tensor(expected))
    ids = torch.arange(20)[None]
    packed, apart = model(ids, Layout.packed(((8, 12),), 20)), (model(ids[:, :8]), model(ids[:, 8:]))
    torch.testing.assert_close(packed, torch.cat(apart, 1), atol=1e-5, rtol=1e-4)
    with pytest.raises(Refusal, match="use 'kerple'"):
        viva.train(yaml.safe_load(RECIPE.replace("position: kerple", "position: kerpel")), changes)


def test_the_family_equals_its_twin(extended):
    family = choice.variant("viva.model.arch", "starcoder2")
    ours = initialise(family.TINY.spec().build(), seed=1).eval()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)) * 0.1)
    folder.save(extended / "saved", family.TINY, ours)
    twin = transformers.Starcoder2ForCausalLM.from_pretrained(extended / "saved").eval()
    ids = torch.randint(3, 64, (2, 24), generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(ours(ids), twin(ids).logits, atol=1e-5, rtol=1e-5)
    twin.save_pretrained(extended / "theirs")
    theirs = folder.load(extended / "theirs")
    assert theirs.config.spec() == family.TINY.spec()
    torch.testing.assert_close(theirs.model(ids), twin(ids).logits, atol=1e-5, rtol=1e-5)


def test_what_was_added_is_gone_again():
    assert {folder: choice.names(folder) for folder in THERE} == THERE
