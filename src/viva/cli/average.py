"""`viva average`: the mean of several models' weights."""

from pathlib import Path


def average(*folders: str, out: Path) -> None:
    """Average the weights of models of one architecture and tokenizer: a uniform soup or, of the checkpoints of a run,
    stochastic weight averaging. It is not measured here whether the average is better than its parts.

    Example: viva average runs/a runs/b runs/c --out runs/soup

    Parameters
    ----------
    folders
        checkpoint or run folders; of a run its best checkpoint counts
    out
        the folder to write
    """
    from viva.api import located
    from viva.infer.trained import Trained
    from viva.model import folder
    from viva.model.soup import soup

    folder.require_room(out)
    places = [located(name) for name in folders]
    made = soup(places)
    labels = {"labels": made.labels} if made.labels else {}
    notes = {"parent": str(places[0].resolve()), "averaged": [str(place.resolve()) for place in places], **labels}
    notes |= Trained.told(made.manifest, str(places[0])).notes
    folder.save(out, made.config, made.model, made.tokenizer, notes)
    print(f"{out}: the mean of {len(places)} models")
