"""Where a server listens, taken before its model is loaded: what cannot be listened at is refused at once."""

import errno
import socket

from viva.base.errors import Refusal

ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # an address of the host that this machine has not, such as IPv6's


def bound(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of the host, all at one port; port 0 takes a free one. Nobody is let in yet."""
    made: list[socket.socket] = []
    absent = None
    for family, address in _addresses(host):
        try:
            made.append(_bound(family, address, made[0].getsockname()[1] if made else port))
        except OSError as error:
            if error.errno not in ABSENT:
                raise _refused(host, port, error) from None
            absent = error
    if not made:
        raise _refused(host, port, absent)
    return made


def _addresses(host: str) -> list[tuple[int, tuple]]:
    """Family and address, with a port that is none, each once."""
    try:
        found = socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:  # of a name that no host can have
        fix = "give --host 127.0.0.1, 0.0.0.0 for all of this machine's, or a name that it knows"
        raise Refusal("a host must have an address", f"none of {host!a} ({error})", fix) from None
    return [*dict.fromkeys((family, address) for family, _, _, _, address in found)]


def _bound(family: int, address: tuple, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # also soon after another server has ended
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # IPv4 has a socket of its own
        made.bind((address[0], port, *address[2:]))
    except OSError:
        made.close()
        raise
    return made


def _refused(host: str, port: int, error: OSError) -> Refusal:
    fix = {
        errno.EADDRINUSE: "end what listens there, or give another --port; 0 takes a free one",
        errno.EACCES: "give --port 1024 or above, or let a proxy listen there",
    }
    must = f"--host {host} and --port {port} must be free to listen at"
    return Refusal(must, error.strerror, fix.get(error.errno, "give an address of this machine, such as 127.0.0.1"))
