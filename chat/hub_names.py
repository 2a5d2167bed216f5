"""Datasets of the Hub under their names: which there are, moving one to another name, deleting one."""

from __future__ import annotations

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from chat.hub_client import Errors, limited, status_of


class HubNames:
    """Of the Hub at `endpoint`. Every method blocks and may raise any `RepoError`."""

    def __init__(self, endpoint: str, token: str) -> None:
        self._endpoint = endpoint
        self._api = HfApi(endpoint=endpoint, token=token)
        limited()

    def there(self, id: str) -> bool:
        """Whether a dataset has this name, and does not only go on answering to it from before it was moved."""
        with Errors(id, self._endpoint, "dataset").translated():
            try:
                return self._api.dataset_info(id, timeout=10.0).id == id
            except RepositoryNotFoundError as error:
                if status_of(error) == 404:
                    return False
                raise

    def move(self, id: str, to: str) -> None:
        with Errors(id, self._endpoint, "dataset").translated(writing=True):
            self._api.move_repo(from_id=id, to_id=to, repo_type="dataset")

    def delete(self, id: str) -> None:
        """With all its history; nothing where there is none."""
        with Errors(id, self._endpoint, "dataset").translated(writing=True):
            try:
                self._api.delete_repo(id, repo_type="dataset", missing_ok=True)
            except HfHubHTTPError as error:
                if status_of(error) != 404:
                    raise
