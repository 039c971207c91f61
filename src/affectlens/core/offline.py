"""Offline mode: refuses all use of the network."""

import sys
from typing import Any

from affectlens.core.errors import NetworkRefused

_EVENTS = frozenset(
    f"socket.{call}"
    for call in ("connect", "getaddrinfo", "gethostbyaddr", "gethostbyname", "getnameinfo", "sendmsg", "sendto")
)


_state = {"forbidden": False}


def network_forbidden() -> bool:
    """Whether `forbid_network` was called: for libraries that do not use Python's sockets."""
    return _state["forbidden"]


def forbid_network() -> None:
    """From now on any attempt of this process to look up or reach a host raises `NetworkRefused`.

    It is a Python audit hook, so it holds for every library that uses Python's sockets, and it cannot be taken back.
    """

    def refuse(event: str, _arguments: tuple[Any, ...]) -> None:
        if event in _EVENTS:
            raise NetworkRefused(f"offline mode: {event} was refused")

    _state["forbidden"] = True
    sys.addaudithook(refuse)
