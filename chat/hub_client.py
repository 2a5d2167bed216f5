"""What repositories and buckets of the Hugging Face Hub share: how long it may be silent, and what its errors mean here.

Errors of `huggingface_hub` stop here; out comes the family of `RepoError`, with a sentence for the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from huggingface_hub import get_session, set_client_factory
from huggingface_hub.errors import (
    BucketNotFoundError,
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import httpx as transport
from huggingface_hub.utils._http import default_client_factory, parse_ratelimit_headers

from chat.dataset_repo import Conflict, Denied, Doubtful, TooMany, Unreachable

SILENCE = 60.0  # seconds


def limit_time(seconds: float) -> None:
    """Give up, in this whole process, on a Hub that is silent for so long. The library itself would wait for ever."""

    def factory() -> transport.Client:
        client = default_client_factory()
        client.timeout = transport.Timeout(seconds, connect=min(seconds, 10.0))
        return client

    set_client_factory(factory)


def limited() -> None:
    """Limit it to `SILENCE` where nobody has."""
    if get_session().timeout.read is None:
        limit_time(SILENCE)


@dataclass(frozen=True, slots=True)
class Errors:
    """Of a dataset or a bucket `id` of the Hub at `endpoint`."""

    id: str
    endpoint: str
    kind: Literal["dataset", "bucket"]

    @contextmanager
    def translated(self, writing: bool = False) -> Iterator[None]:
        """Turn what the library raises into the family of `RepoError`. `writing`: a lost answer may hide a success."""
        lost = Doubtful if writing else Unreachable
        try:
            yield
        except (RevisionNotFoundError, EntryNotFoundError):
            raise Conflict(f"This version of {self.id} is gone: its history was rewritten.") from None
        except HFValidationError:
            raise Denied(f"{self.id!r} cannot be a {self.kind} of the Hub. Use namespace/name.") from None
        except HfHubHTTPError as error:
            raise self._refusal(error, lost) from None
        except (transport.ConnectError, transport.ConnectTimeout, transport.UnsupportedProtocol, transport.InvalidURL):
            raise Unreachable(
                f"The Hub at {self.endpoint} cannot be reached. Check the network and HF_ENDPOINT."
            ) from None
        except (transport.TimeoutException, TimeoutError):
            raise lost(f"The Hub at {self.endpoint} takes too long to answer.") from None
        except (transport.HTTPError, OSError):
            raise lost(f"The connection to the Hub at {self.endpoint} broke off. Check the network.") from None
        except (ValueError, TypeError, RuntimeError, AttributeError):
            raise lost(f"What {self.endpoint} answers is not what a Hub says. Check HF_ENDPOINT.") from None

    def _refusal(self, error: HfHubHTTPError, lost: type[Doubtful | Unreachable]) -> Exception:
        status, namespace = status_of(error), self.id.partition("/")[0]
        if status in (409, 412):
            return Conflict(f"Somebody else wrote to {self.id}.")
        if status == 401:
            return Denied(
                f"The Hub at {self.endpoint} does not accept HF_TOKEN: it is wrong, expired or revoked. "
                f"Set HF_TOKEN to a token that may write to {self.id}."
            )
        if status == 403 and "storage" in (error.server_message or "").lower():
            return Denied(
                f"The private storage of {namespace} on the Hub is full. Make room there, get more in its billing settings, or "
                f"choose a {self.kind} of an account that has room."
            )
        if status == 403:
            return Denied(
                f"HF_TOKEN may not write to {self.id}. Set it to a token with the write role of an account that may "
                f"write in {namespace}, or choose a {self.kind} of your own."
            )
        if isinstance(error, RepositoryNotFoundError | BucketNotFoundError):
            return Denied(f"The Hub has no {self.kind} {self.id} any more, or HF_TOKEN may not see it.")
        if status == 429:
            return TooMany(
                f"The Hub at {self.endpoint} asks for fewer requests or commits of this account; this goes on by itself. If "
                "it happens often, raise SYNC_SECONDS or give the app an account of its own.",
                _asked_to_wait(error),
            )
        if status is not None and status < 500:
            return Denied(f"{self.endpoint} answered {status}, as a Hub does not. Check HF_ENDPOINT.")
        return lost(f"The Hub at {self.endpoint} has trouble of its own ({status or 'no status'}). It is asked again.")


def status_of(error: HfHubHTTPError) -> int | None:
    return error.response.status_code if error.response is not None else None


def _asked_to_wait(error: HfHubHTTPError) -> float | None:
    """Seconds, from the headers `Retry-After` or `RateLimit`; None where there is neither."""
    headers = error.response.headers
    limits = parse_ratelimit_headers(headers)
    if limits is not None and limits.remaining == 0:
        return float(limits.reset_in_seconds)
    after = headers.get("retry-after", "")
    return float(after) if after.isdigit() else None
