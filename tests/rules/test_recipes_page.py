"""Documents that list what the code offers list all of it."""

from pathlib import Path

import pytest

from viva.base.choice import names, variant
from viva.train.job import Train
from viva.train.recipe import Recipe

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "recipes.md").read_text(encoding="utf-8")
TUNING = (DOCS / "tuning.md").read_text(encoding="utf-8")
TOKENIZERS = (DOCS / "tokenizers.md").read_text(encoding="utf-8")
FOLDERS = (
    "viva.text.rows.corpus",
    "viva.text.rows.format",
    "viva.text.rows.filter",
    "viva.text.rows.augment",
    "viva.train.regularise",
    "viva.train.optim",
    "viva.train.schedule",
    "viva.train.objective",
)


@pytest.mark.parametrize("name", [*Recipe.model_fields, *Train.model_fields, *(n for f in FOLDERS for n in names(f))])
def test_every_field_and_kind_of_a_recipe_is_described(name):
    assert f"`{name}`" in TEXT


@pytest.mark.parametrize("package", FOLDERS[:4])
def test_every_field_of_data_formats_and_filters_is_described(package):
    for name in names(package):
        for field in variant(package, name).Config.model_fields:
            assert f"`{field}`" in TEXT


@pytest.mark.parametrize("field", ["batch", "accumulate", "context", "lr", "clip", "save_minutes", "keep"])
def test_defaults_are_those_of_the_code(field):
    row = next(line for line in TEXT.splitlines() if line.startswith(f"| `{field}` |"))
    assert float(row.split("|")[3]) == Train.model_fields[field].default


@pytest.mark.parametrize("name", names("viva.text.tokens.learn"))
def test_every_algorithm_of_tokenizers_is_described_with_its_fields(name):
    assert f"`{name}`" in TOKENIZERS
    assert all(f"`{field}`" in TOKENIZERS for field in variant("viva.text.tokens.learn", name).Config.model_fields)


@pytest.mark.parametrize("name", names("viva.model.arch"))
def test_every_family_is_in_the_readme(name):
    assert f"`{name}`" in (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", names("viva.model.adapt"))
def test_every_adapter_is_described_with_its_fields(name):
    assert f"`{name}`" in TUNING
    assert all(f"`{field}`" in TUNING for field in variant("viva.model.adapt", name).Config.model_fields)
