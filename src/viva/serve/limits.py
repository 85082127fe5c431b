"""What a server takes on: how much, and how long."""

from pydantic import Field

from viva.base.config import Config


class Limits(Config):
    """Bounds of a server. Sizes in bytes, times in seconds."""

    queue: int = Field(128, ge=0, description="replies that may wait beside those that are written; more are told 429")
    body: int = Field(2**23, ge=1, description="bytes of a request at most; more are told 413")
    timeout: float = Field(600, gt=0, description="seconds in which a request must be answered whole")
    patience: float = Field(30, gt=0, description="seconds in which a client must send its body, and take each event")
    behind: int = Field(1024, ge=1, description="events that may wait for a client that reads slowly")
    grace: float = Field(30, ge=0, description="seconds for what is being written, when the server is told to end")
