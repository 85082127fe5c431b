"""What is searched: ranges and lists of values for leaves of a recipe, and what makes a trial good."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from viva.base.choice import Choice
from viva.base.config import Config, kind, parse
from viva.base.errors import Refusal
from viva.train.recipe import Recipe
from viva.train.search.pruner import none

MOST = 10_000  # combinations of a grid


class Range(Config):
    """Numbers from `low` to `high`, both among them: whole ones if both are. With `log` as many between 1 and 10 as
    between 10 and 100; with `step` low, low + step, and so on.
    """

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"must have `low` below `high`, but {self.low} is not below {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"must have `low` above 0 to be logarithmic, but it is {self.low}")
        if self.log and self.step is not None:
            raise ValueError("must have `log` or `step`, not both")
        if self.step is not None and self.step > self.high - self.low:
            raise ValueError(f"must have a `step` of at most {self.high - self.low}, but it is {self.step}")
        return self

    @property
    def whole(self) -> bool:
        return all(isinstance(number, int) for number in (self.low, self.high, self.step or 1))

    def ends(self) -> tuple[int | float, int | float]:
        return self.low, self.high

    def suggested(self, trial: Any, name: str) -> int | float:
        """A value of a trial of Optuna."""
        if self.whole:
            return trial.suggest_int(name, self.low, self.high, step=self.step or 1, log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def all(self) -> list[int | float]:
        """Every value; refused where there is no end of them."""
        if not self.whole and self.step is None:
            raise Refusal(
                "a grid must have ranges with a `step`", f"{self.low} to {self.high}", "give a step, or a list"
            )
        step = self.step or 1
        return [self.low + k * step for k in range(int((self.high - self.low) / step * (1 + 1e-12)) + 1)]


def _values(given: Any) -> Any:
    """A range or a list, by what is given, so that only the faults of this one are told."""
    if isinstance(given, dict):
        return Range.model_validate(given)
    if not isinstance(given, list | tuple | Range):
        raise ValueError("must be a list of values, or a range {low, high}")
    return given


class Plan(Config):
    """`space`: for each leaf of the recipe a list of values or a range {low, high}. A trial's value is the best of
    `metric` among its records, the least or, with `goal` max, the most. `trials`: how many; of a grid all unless told.
    """

    space: dict[str, Annotated[Range | tuple[Any, ...], BeforeValidator(_values)]] = Field(min_length=1)
    metric: str = "valid_loss"
    goal: Literal["min", "max"] = "min"
    trials: PositiveInt | None = None
    sampler: Choice("viva.train.search.sampler") = Field("tpe", validate_default=True)
    pruner: Choice("viva.train.search.pruner") = none.Config()

    @model_validator(mode="after")
    def _some_values(self) -> Self:
        for path, values in self.space.items():
            written = [] if isinstance(values, Range) else [json.dumps(value, sort_keys=True) for value in values]
            if not isinstance(values, Range) and (not written or len(set(written)) < len(written)):
                raise ValueError(f"must have values for {path}, each once, but they are {list(values)}")
        if self.trials is None and kind(self.sampler) != "grid":
            raise ValueError("must say how many `trials` there are to be, unless the sampler is grid")
        return self

    def require(self, tree: dict[str, Any], given: dict[str, Any], name: str) -> None:
        """Refuse a leaf that the recipe has not, a value that it does not take, and two that are one to it."""
        if "out" in self.space:
            raise Refusal(
                "a search must leave `out` to its trials", "a list of them", "give the search's --out instead"
            )
        for path, values in self.space.items():
            known: list[tuple[Any, Recipe]] = []
            for value in values.ends() if isinstance(values, Range) else values:
                made = parse(Recipe, tree, {**given, path: value}, name=f"{name} with {path}={value}")
                if (same := next((one for one, before in known if before == made), None)) is not None:
                    found = f"{same} and {value}, which are the same to it"
                    raise Refusal(f"values of {path} must differ to the recipe", found, "remove one of them")
                known.append((value, made))

    def suggested(self, trial: Any) -> dict[str, Any]:
        """The settings of a trial of Optuna by their dotted paths; a value of a list is known by how JSON writes it."""
        found = {}
        for path, values in self.space.items():
            if isinstance(values, Range):
                found[path] = values.suggested(trial, path)
            else:
                found[path] = json.loads(trial.suggest_categorical(path, [json.dumps(value) for value in values]))
        return found

    def grid(self) -> dict[str, list]:
        """All values of each leaf, as `suggested` asks Optuna for them."""
        return {path: [*_all(values)] for path, values in self.space.items()}

    def count(self) -> int:
        """How many trials there are to be."""
        if kind(self.sampler) != "grid":
            return self.trials
        size = 1
        for values in self.grid().values():
            size *= len(values)
        if size > MOST and self.trials is None:
            raise Refusal(f"a grid must have at most {MOST:,} combinations", f"{size:,}", "set `trials`, or use random")
        return min(size, self.trials or size)


def _all(values: Range | tuple[Any, ...]) -> Iterator[Any]:
    if isinstance(values, Range):
        yield from values.all()
    else:
        yield from (json.dumps(value) for value in values)
