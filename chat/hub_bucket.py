"""Storage buckets of the Hugging Face Hub to read and write. Their bytes travel through `hf_xet`, the client's own transport."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import BucketBatchError, BucketNotFoundError, HfHubHTTPError
from huggingface_hub.utils import disable_progress_bars

from chat.dataset_repo import Denied, Doubtful, Visibility
from chat.hub_client import Errors, limited, status_of

NOTHING = "nothing"  # a path that nobody writes to


class HubBucket:
    """A bucket of the Hub at `endpoint`, as `chat.bucket.Bucket` describes it. Safe to call from several threads.

    `reading`: a folder of its own, where what is read lies for a moment; what a killed app left there goes at once. Without
    one it is the system's for temporary files, where nobody would find it again.
    """

    def __init__(self, endpoint: str, token: str, bucket_id: str, reading: Path | None = None) -> None:
        self.id = bucket_id
        self._reading = reading
        if reading:
            shutil.rmtree(reading, ignore_errors=True)
        self._endpoint = endpoint
        self._api = HfApi(endpoint=endpoint, token=token)
        self._errors = Errors(bucket_id, endpoint, "bucket")
        limited()
        # Its bars would be drawn over the app's own output, once a second.
        disable_progress_bars()

    def visibility(self) -> Visibility | None:
        with self._errors.translated():
            try:
                return "private" if self._api.bucket_info(self.id).private else "public"
            except BucketNotFoundError as error:
                if status_of(error) == 404:
                    return None
                raise

    def owned(self) -> bool:
        with self._errors.translated():
            me = self._api.whoami()
            return self.id.partition("/")[0] in {me.get("name"), *(org.get("name") for org in me.get("orgs") or ())}

    def create(self) -> None:
        with self._errors.translated(writing=True):
            try:
                self._api.create_bucket(self.id, private=True)
            except HfHubHTTPError as error:
                if status_of(error) != 409:
                    raise
        if self.visibility() is None:
            raise Denied(f"The Hub has {self.id} already, but HF_TOKEN may not see it. Choose another name for it.")

    def paths(self) -> list[str]:
        with self._errors.translated():
            return sorted(
                item.path for item in self._api.list_bucket_tree(self.id, recursive=True) if item.type == "file"
            )

    def read(self, paths: Sequence[str]) -> dict[str, bytes]:
        # The client writes files; nothing of them stays.
        if self._reading:
            self._reading.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="parley-bucket-", dir=self._reading) as folder:
            with self._errors.translated():
                found = list(self._api.get_bucket_paths_info(self.id, list(paths)))
            targets = {item.path: Path(folder) / str(number) for number, item in enumerate(found)}
            self._transfer(
                lambda: self._api.download_bucket_files(self.id, [(item, targets[item.path]) for item in found])
            )
            return {path: target.read_bytes() for path, target in targets.items()}

    def apply(self, add: Mapping[str, bytes], delete: Sequence[str]) -> None:
        files = [(content, path) for path, content in add.items()]
        try:
            self._transfer(lambda: self._api.batch_bucket_files(self.id, add=files, delete=list(delete)))
        except Doubtful:
            # Where the token or the bucket is the reason, this says so: it needs no storage.
            self._transfer(lambda: self._api.batch_bucket_files(self.id, delete=[NOTHING]))
            raise

    def _transfer(self, act: Callable[[], None]) -> None:
        with self._errors.translated(writing=True):
            try:
                act()
            except BucketBatchError as error:
                raise Doubtful(f"{len(error.failures)} objects could not be written to {self.id}.") from None
            except HfHubHTTPError:
                raise
            except Exception as error:
                if not type(error).__module__.startswith(("hf_xet", "builtins")):
                    raise
                # hf_xet says of a token that is refused, a storage that is away and a broken line alike that it failed.
                raise Doubtful(f"The storage of the bucket {self.id} did not take or give what was sent.") from None
