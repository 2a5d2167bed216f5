"""The repositories that the settings name: the private dataset or its folder, the bucket, the sharing datasets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chat.backup import Backup
from chat.backup_reader import Extra
from chat.bucket import Bucket, BucketOfOneSpace
from chat.dataset_repo import DatasetRepo, Denied, FolderRepo
from chat.db import Database
from chat.hub import HubRepo
from chat.hub_bucket import HubBucket
from chat.repo_guards import Counted, OfOneSpace
from chat.settings import Settings
from chat.slots import Slots
from chat.write_ahead import WriteAhead


def slots_of(settings: Settings, clock: Callable[[], float]) -> Slots | None:
    """The Hub's quota of commits, for all that commit with this app's token; None where nothing goes to the Hub."""
    return Slots(clock, settings.commits_per_hour) if settings.hf_token and settings.store_dataset else None


def private_repo(settings: Settings, slots: Slots | None) -> DatasetRepo:
    """Where conversations are saved: the private dataset, or without a token a folder of the same layout."""
    if settings.hf_token and settings.store_dataset:
        return _of_this_space(settings, settings.store_dataset, slots)
    return FolderRepo(settings.data_dir / "dataset")


def sharing_repo(settings: Settings, id: str, slots: Slots | None, caller: str | None = None) -> DatasetRepo:
    """A sharing dataset: `push()` alone, which is the `caller`, writes to it, and `Access` lets in who may read it. Raises
    `Denied`."""
    if not settings.hf_token:
        raise Denied(f"The sharing dataset {id} cannot be written without a token. Set HF_TOKEN again.")
    return _of_this_space(settings, id, slots, caller)


def _of_this_space(settings: Settings, id: str, slots: Slots | None, caller: str | None = None) -> DatasetRepo:
    repo: DatasetRepo = HubRepo(settings.hf_endpoint, settings.hf_token or "", id, caller)
    if slots:
        repo = Counted(repo, slots)
    return OfOneSpace(repo, settings.space_id) if settings.space_id else repo


def write_ahead_of(
    settings: Settings,
    db: Database,
    clock: Callable[[], float],
    parts: Sequence[Extra],
    backup: Backup,
    report: Callable[[str], None],
) -> WriteAhead | None:
    """The write-ahead objects; None without a bucket, or without the dataset that takes over from it."""
    if not (settings.hf_token and settings.store_dataset and settings.wal_bucket):
        return None
    bucket: Bucket = HubBucket(
        settings.hf_endpoint, settings.hf_token, settings.wal_bucket, settings.data_dir / "reading"
    )
    if settings.space_id:
        bucket = BucketOfOneSpace(bucket, settings.space_id)
    # A no must not be lost. What is about to be public is saved before it is.
    urgent = [part for part in parts if part.prefix == "consent/"]
    return WriteAhead(db, bucket, clock, extras=urgent, ready=backup.read, catch_up=backup.pull, report=report)
