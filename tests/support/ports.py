"""Ports of the loopback interface that nobody else is given between asking for one and listening on it."""

from __future__ import annotations

import itertools
import random
import socket

# Below those that the kernel hands out (Linux: from 32768, elsewhere from 16000), to both ends of every connection; without
# 10080, to which no browser goes.
_LOW = itertools.cycle(random.SystemRandom().sample(range(10_100, 16_000), 5_900))


def free_port() -> int:
    """A port that nobody listens on now. Whoever asks the kernel for any port is not given it."""
    for port in _LOW:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("unreachable")
