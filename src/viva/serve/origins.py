"""Other web pages that browsers may let ask."""

import re
from collections.abc import Sequence

from viva.base.errors import Refusal

ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
USUAL = {("http", ":80"), ("https", ":443")}  # ports that browsers leave out


def require(origins: Sequence[str]) -> None:
    """Refuse what no browser sends as an Origin (https://fetch.spec.whatwg.org/#origin-header), and so never matches; *
    stands for all.
    """
    for origin in origins:
        found = ORIGIN.fullmatch(origin)
        if origin != "*" and (found is None or (found[1], found[3]) in USUAL):
            must = "an origin must be written as browsers send it, scheme://host or scheme://host:port in small letters"
            raise Refusal(must, repr(origin), "write https://example.org, with no path behind it, or * for all pages")
