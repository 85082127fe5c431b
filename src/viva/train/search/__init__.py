"""A search of a recipe's settings: what is tried (`plan`), how it is chosen (`sampler/`), what is given up early
(`pruner/`), and the trials themselves (`search`).
"""

from types import ModuleType

from viva.base.errors import Refusal


def optuna() -> ModuleType:
    """The library (Akiba et al. 2019, https://arxiv.org/abs/1907.10902), silenced; refused where it is missing."""
    try:
        import optuna
    except ImportError:
        fix = "install it: pip install 'viva[search]'"
        raise Refusal("a search of settings must have Optuna", "it is not installed", fix) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
