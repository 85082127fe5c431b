"""`viva train`: any run that a recipe describes."""


def train(recipe: str, *overrides: str, dry_run: bool = False) -> None:
    """Train as a recipe says; the same command goes on from where a stopped run was.

    Example: viva train recipes/shakespeare.yaml train.lr=3e-4 data.path=my.txt

    Parameters
    ----------
    recipe
        a YAML file; those in recipes/ are a start
    overrides
        section.key=value, in place of what the recipe says
    dry_run
        check recipe and data, show examples with what is learned, and the cost; train nothing
    """
    from viva.base.config import read
    from viva.train.recipe import Recipe

    given = read(Recipe, recipe, overrides)
    if dry_run:
        from viva.train import preview

        preview.show(given)
        return
    from viva.train.run import run

    done = run(given)
    if done.finished and done.writes:
        print(f'talk to it: viva generate {done.folder} "..."')
