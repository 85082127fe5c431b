"""`viva lineage`: where a checkpoint came from."""

from pathlib import Path
from typing import Any

from viva.base.errors import Refusal

SHOWN_APART = ("format", "model", "tokenizer", "files", "parent")


def lineage(folder: str) -> int:
    """Show what a checkpoint is, from what it was made, whether its files are intact, and the same of its parents.

    Exit code 2 if a file is not the one that was written.

    Example: viva lineage runs/quickstart

    Parameters
    ----------
    folder
        a checkpoint or run folder
    """
    from viva.api import located

    path, seen, intact = located(folder), set(), True
    while path is not None and path not in seen:
        seen.add(path)
        intact &= _describe(path)
        path = _parent(path)
    return 0 if intact else 2


def _describe(path: Path) -> bool:
    """Print the facts of one checkpoint; whether its files are intact."""
    from viva.model.adapter import fault

    reason, manifest = fault(path), _manifest(path)
    print(path)
    for name, value in _facts(manifest):
        print(f"  {name:10} {value}")
    files = manifest.get("files", {})
    verdict = f"{len(files)} verified by SHA-256" if files else "not listed: no viva.json says what was written"
    print(f"  {'files':10} {reason or verdict}")
    return reason is None


def _facts(manifest: dict[str, Any]) -> list[tuple[str, Any]]:
    from viva.text.tokens.fingerprint import digest

    model, tokenizer = manifest.get("model") or {}, manifest.get("tokenizer") or {}
    sizes = ", ".join(f"{key} {value}" for key, value in model.items() if isinstance(value, int) and value > 1)
    facts = [("model", f"{model.get('kind')} ({sizes})")] if model else []
    facts += [("tokenizer", digest(tokenizer)[:16])] if tokenizer else []
    facts += [(key, _flat(value)) for key, value in manifest.items() if key not in SHOWN_APART]
    return [*facts, ("parent", manifest.get("parent") or "none: begun from new weights")] if manifest else facts


def _flat(value: Any) -> str:
    return ", ".join(f"{key} {_flat(item)}" for key, item in value.items()) if isinstance(value, dict) else str(value)


def _parent(path: Path) -> Path | None:
    """The folder of the checkpoint this one was made from, if it is on this machine."""
    from viva.api import located

    name = _manifest(path).get("parent")
    if name and not Path(name).exists():
        print(f"{name}\n  not on this machine")
    return located(name) if name and Path(name).exists() else None


def _manifest(path: Path) -> dict[str, Any]:
    from viva.model.folder import manifest

    try:
        return manifest(path) or {}
    except Refusal:
        return {}  # `fault` says so
