"""Two replicas of the app's store and backup on one private dataset, everything that can go wrong, and an oracle.

    outcome = await chaos(seed, operations, folder)
    outcome.violations          # sentences; none is what must hold
    outcome.table_row()

Users write, retry, rename and delete, on either replica, some at once. Commits, squashes, moves, batches of the bucket
and reads fail before and after they took effect. At any call to the Hub the other replica may act in between, or the
process end: its disk kept or lost. Some processes are real and are ended with `kill -9`.

The seed draws what is done, what fails and where it crashes, each operation from a sequence of its own. Not drawn from it
are the ids, in which order the threads of one replica read, and where exactly `kill -9` strikes.
"""

from .driver import chaos
from .oracle import Outcome

__all__ = ["Outcome", "chaos"]
