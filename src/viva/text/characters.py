"""Text that is Unicode: half a surrogate pair, which JSON and shells can smuggle into a string, has no UTF-8."""

from viva.base.errors import Refusal


def require_whole(text: str, where: str = "text") -> str:
    """`text` itself; refused where a character of it cannot be written as UTF-8. `where` begins the sentence."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        found = f"a lone surrogate at character {error.start}"
        raise Refusal(f"{where} must have whole Unicode characters", found, "write it as UTF-8") from None
    return text
