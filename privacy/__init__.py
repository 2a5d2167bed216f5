"""What may leave, and how it is taken back. Reads chat's store through its `finished_turn` view and `tombstones`."""

from pathlib import Path

# Append-only, as chat's: a published migration is never edited.
MIGRATIONS: tuple[Path, ...] = tuple(sorted((Path(__file__).parent / "migrations").glob("*.sql")))
