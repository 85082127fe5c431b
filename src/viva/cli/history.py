"""What was typed in chats before, kept for the arrow keys."""

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path

from viva.base.errors import Notice

MOST = 1000  # messages under the arrow keys


def place() -> Path:
    """The file, a message a line as JSON, in the folder for state that the XDG specification names."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "viva" / "chat.jsonl"


def recall(put: Callable[[str], None]) -> None:
    """Put the last messages under the arrow keys, the newest at last."""
    try:
        lines = place().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return  # none yet, or none of ours
    for line in lines[-MOST:]:
        try:
            message = json.loads(line)
        except ValueError:
            continue  # cut off as the machine stopped
        put(str(message))


def add(message: str) -> None:
    """Keep a message, for this chat and those to come; the file is for its owner alone."""
    try:
        import readline

        readline.add_history(message)
    except ImportError:
        return  # a system without arrow keys
    try:
        place().parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(place(), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with open(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(message) + "\n")
    except OSError as error:
        warnings.warn(Notice(f"what is typed is kept for this chat alone: {place()}: {error.strerror}"), stacklevel=2)
