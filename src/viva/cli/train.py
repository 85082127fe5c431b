"""`viva train`: any run that a recipe describes."""

from pathlib import Path


def train(
    recipe: str, *overrides: str, dry_run: bool = False, html: Path | None = None, json: bool = False
) -> int | None:
    """Train as a recipe says; the same command goes on from where a stopped run was. Exit code 1 where trouble ended
    it, as train.health.stop asks.

    Example: viva train recipes/shakespeare.yaml train.lr=3e-4 data.path=my.txt

    Parameters
    ----------
    recipe
        a YAML file; those in recipes/ are a start
    overrides
        section.key=value, in place of what the recipe says
    dry_run
        check recipe and data, show examples with what is learned, and the cost; train nothing. Exit code 1 where
        something is wrong
    html
        a file to write a page to, of what a dry run finds
    json
        print JSON in place of sentences, of a dry run
    """
    from viva.base.config import read
    from viva.base.errors import Refusal
    from viva.train.recipe import Recipe

    given = read(Recipe, recipe, overrides)
    if dry_run:
        from viva.cli import told
        from viva.train.preview import preview

        return told.tell(preview(given), html, json)
    if html is not None or json:
        raise Refusal("--html and --json must tell of a dry run", "a run", "add --dry-run")
    from viva.train.run import run

    done = run(given)
    if done.finished and done.writes:
        print(f"talk to it: viva chat {done.folder}" if done.talks else f'try it: viva generate {done.folder} "..."')
    return 1 if done.halted else None
