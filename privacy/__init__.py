"""What may leave, and how it is taken back. Reads chat's store through its `finished_turn` view and `tombstones`."""

from pathlib import Path

# Append-only, as chat's: a published migration is never edited.
MIGRATIONS: tuple[Path, ...] = tuple(
    Path(__file__).parent / "migrations" / name for name in ("0001_consent.sql", "0002_outbox.sql", "0003_joined_owners.sql", "0004_unsaved.sql")
)
