"""Checkpoints of a run: model folders with the training state beside the weights, in <run>/checkpoints/."""

import json
import shutil
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from viva.base import product
from viva.base.config import Config
from viva.base.errors import Notice, Refusal
from viva.model import adapter, folder, hub
from viva.model.adapter import Adapter
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.job import Job, State

OPTIMIZER, TRAINING = "optimizer.safetensors", "training.json"
OBJECTIVE = "objective.safetensors"  # of an objective that learns something beside the model


def place(run: Path, step: int) -> Path:
    """The folder of the checkpoint after `step` updates."""
    return run / "checkpoints" / f"step-{step:08d}"


def save(job: Job, state: State, made: Config | Adapter, tokenizer: Tokenizer, notes: dict[str, Any]) -> Path:
    """Write a checkpoint, whole or not at all, and then delete those that are neither recent nor the best. What is
    `made`: a model of that config, or an adapter, which is saved without its base.
    """

    def training_state(new: Path) -> None:
        tensors, plain = _split(job.optimizer)
        save_file(tensors, new / OPTIMIZER)
        if own := _own(job):
            save_file(own, new / OBJECTIVE)
        facts = {"state": asdict(state), "optimizer": plain, "precision": job.precision.name}
        facts["scaler"] = job.precision.scaler.state_dict()
        facts["products"] = product.choices() if job.precision.device == "cpu" else {}
        (new / TRAINING).write_text(json.dumps(facts, indent=2), encoding="utf-8")

    path = place(job.folder, state.step)
    write = adapter.save if isinstance(made, Adapter) else folder.save
    write(path, made, job.model, tokenizer, {"step": state.step, **notes}, training_state)
    _prune(job.folder, job.train.keep, state.best_step)
    return path


def newest(run: Path) -> tuple[Path | None, list[str]]:
    """The newest valid checkpoint of a run, and for each newer one why it was passed over.

    None if there is none at all; refused if there are some and none is valid.
    """
    passed = []
    for path in reversed(_all(run)):
        reason = fault(path)
        if reason is None:
            return path, passed
        passed.append(f"{path.name}: {reason}")
    if passed:
        fix = "restore one of them from a copy, or delete the folder to begin anew"
        raise Refusal(f"{run} must hold a valid checkpoint", "; ".join(passed), fix)
    return None, []


def best(run: Path) -> Path:
    """The checkpoint to use: the one with the lowest held-out loss if it is still there and valid, else the newest.

    A `Notice` says which were passed over, and why.
    """
    path, passed = newest(run)
    if path is None:
        raise Refusal(
            f"{run} must hold a checkpoint", "none", "train first; the first one is saved after save_every steps"
        )
    step = facts(path)["state"]["best_step"]
    chosen = path if step is None else place(run, step)
    reason = None if chosen == path else fault(chosen)
    if reason is not None:
        passed, chosen = [*passed, f"{chosen.name}, the best: {reason}"], path
    for reason in passed:
        warnings.warn(Notice(f"passed over {reason}; using {chosen}"), stacklevel=2)
    return chosen


def located(name: str | Path) -> Path:
    """The checkpoint that `name` means: that folder, the best of a run, or a model fetched from the hub."""
    path = hub.located(name)
    is_run = (path / "checkpoints").is_dir() and not (path / "config.json").is_file()
    return best(path) if is_run else path


def fault(path: Path) -> str | None:
    """Why a checkpoint of a run is not valid, or None. The manifest is written last, so there must be one."""
    if not path.is_dir():
        return "no such folder"
    if not any(path.iterdir()):
        return "an empty folder"
    if not (path / folder.MANIFEST).is_file():
        return f"no {folder.MANIFEST}"
    missing = next((name for name in (TRAINING, OPTIMIZER) if not (path / name).is_file()), None)
    fault = folder.changed if adapter.holds_one(path) else folder.fault
    return fault(path) or (missing and f"no {missing}")


def facts(path: Path) -> dict[str, Any]:
    """What training.json says."""
    return json.loads((path / TRAINING).read_text(encoding="utf-8"))


def restore(path: Path, job: Job) -> State:
    """Give a new job's optimizer and loss scale what they remembered; returns the saved state."""
    said = facts(path)
    product.adopt(said.get("products", {}))
    _join(job.optimizer, load_file(path / OPTIMIZER), said["optimizer"], path)
    if _own(job):
        job.objective.load_state_dict(load_file(path / OBJECTIVE))
    if job.precision.scaler.is_enabled():
        job.precision.scaler.load_state_dict(said["scaler"])
    return State(**said["state"])


def clean(run: Path) -> None:
    """Delete what a killed run left half written."""
    for leftover in (*run.glob("checkpoints/.step-*"), *run.glob("tokens/.*"), *run.glob(".tokenizer.*")):
        shutil.rmtree(leftover)


def _own(job: Job) -> dict[str, torch.Tensor]:
    """What the objective learns beside the model."""
    return job.objective.state_dict() if isinstance(job.objective, torch.nn.Module) else {}


def _all(run: Path) -> list[Path]:
    return sorted(path for path in (run / "checkpoints").glob("step-*") if path.is_dir())


def _prune(run: Path, keep: int, best_step: int | None) -> None:
    kept = {*_all(run)[-keep:], place(run, best_step or 0)}
    for path in set(_all(run)) - kept:
        gone = path.rename(path.with_name(f".{path.name}.old"))  # a kill while deleting leaves no half checkpoint
        shutil.rmtree(gone)


def _split(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """An optimizer's memory as tensors named parameter/key, and its groups as plain data."""
    saved = optimizer.state_dict()
    names = _names(saved)
    tensors = {
        f"{names[index]}/{key}": value.contiguous()
        for index, entry in saved["state"].items()
        for key, value in entry.items()
        if value is not None
    }
    return tensors, saved["param_groups"]


def _join(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor], groups: list[dict], path: Path) -> None:
    now = optimizer.state_dict()
    found, expected = [[group["param_names"] for group in side] for side in (groups, now["param_groups"])]
    if found != expected:
        fix = "resume with the model and optimizer that the checkpoint was made with"
        raise Refusal(f"the parameter groups of {path} must be those of the run", found, fix)
    index = {name: number for number, name in _names(now).items()}
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        parameter, _, key = name.rpartition("/")
        state.setdefault(index[parameter], {})[key] = tensor.clone()  # off the file's map, aligned as when it was made
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _names(saved: dict[str, Any]) -> dict[int, str]:
    pairs = (zip(group["params"], group["param_names"], strict=True) for group in saved["param_groups"])
    return dict(pair for group in pairs for pair in group)
