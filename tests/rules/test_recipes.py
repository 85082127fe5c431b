"""Every recipe can be read, and so can every command in its comments; every way to tune and align has one."""

import re
import shlex
from pathlib import Path

import pytest

from viva.align.reply import Prompt, Reply
from viva.align.reward import Setting, judged
from viva.base.choice import names
from viva.base.config import read
from viva.train.recipe import Recipe

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "recipes").glob("*.yaml"))
COMMENTS = {
    file.name: re.sub(r"\\\n#\s*", "", "".join(re.findall(r"^#.*\n", file.read_text(encoding="utf-8"), re.MULTILINE)))
    for file in FILES
}
COMMANDS = [words for said in COMMENTS.values() for words in re.findall(r"viva train (recipes/[^`\n]*)", said)]
METHODS = ("dpo", "kto", "reward", "grpo", "ppo", "online_dpo", "raft", "distill", "online_distill")
TEXT = "".join(file.read_text(encoding="utf-8") for file in FILES)
PAGES = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recipe_is_read_and_says_first_how_it_is_run(file):
    recipe = read(Recipe, file)
    assert recipe.out == f"runs/{file.stem.removesuffix('-multi30k')}"
    assert f"#   viva train recipes/{file.name}" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_in_a_comment_is_a_recipe(words):
    name, *overrides = shlex.split(words.replace(" --dry-run", ""))
    read(Recipe, ROOT / name, overrides)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recipe_is_named_on_a_page(file):
    assert file.name in PAGES


@pytest.mark.parametrize("kind", [*METHODS, *names("viva.model.adapt")])
def test_every_way_to_tune_and_align_has_a_recipe(kind):
    assert re.search(rf"kind: {kind}\b", TEXT)


@pytest.mark.parametrize(("said", "reward"), [
    ("She sells 9 eggs.\n#### 18", 1.1),  # 9 * 2 = 18
    ("She makes $18.00 a day.", 1.0),
    ("#### 1,8", 0.1),
    ("18 eggs are 9 eggs too many.\n#### 9", 0.1),
    ("I do not know.", 0.0),
])  # fmt: skip
def test_grade_school_maths_pays_the_right_number_and_a_little_for_its_form(said, reward):
    """A row of gsm8k, Cobbe et al. 2021: 16 eggs less 3 less 4, at 2 dollars."""
    answer = "Janet sells 16 - 3 - 4 = <<16-3-4=9>>9 duck eggs a day.\nShe makes 9 * 2 = $<<9*2=18>>18.\n#### 18"
    objective = read(Recipe, ROOT / "recipes" / "grpo-gsm8k.yaml").objective
    replies = [Reply(Prompt([], "How much does she make?", answer, 0), [], [], said, True)]
    assert judged(objective.reward.build(Setting(None)), replies) == pytest.approx([reward])
    assert judged(objective.truth.build(Setting(None)), replies) == [float(reward >= 1)]
