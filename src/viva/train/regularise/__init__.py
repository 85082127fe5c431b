"""What keeps a model from learning its training data by heart, one a file: `Config.wrap(objective, ground)` gives the
objective as training evaluates it; held-out data are measured as without.
"""

from viva.base.config import Config
from viva.train.objective import Ground, Objective


class Base(Config):
    """The base of each file's Config."""

    def wrap(self, objective: Objective, ground: Ground) -> Objective:
        """The objective, changed; refused where the model or the objective does not allow it."""
        raise NotImplementedError
