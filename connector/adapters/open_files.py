"""Open files, sockets among them: as many as the system allows, and no port may take so many that none is left for sends and Kafka."""

from __future__ import annotations

import contextlib
import resource
from typing import Final

_PARTS: Final = 4
"""A port has one part for its connections and as much again for a burst of new ones; two parts stay for all the rest."""


def raise_limit() -> None:
    """Lift the soft limit to the hard one: a shell's or a container's usual 1,024 is for programs that use ``select``."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some systems name a hard limit that they do not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def limit() -> int | None:
    """How many files may be open at once; None: any number."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def affordable(connections: int) -> int:
    """How many of these connections a port may have, given the limit."""
    most = limit()
    return connections if most is None else max(1, min(connections, most // _PARTS))
