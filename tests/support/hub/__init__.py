"""A Hugging Face Hub on this machine, for tests and for trying the app out.

    hub = LoopbackHub(folder).start()
    token = hub.add_user("ada", orgs=[Org("acme", plan="enterprise")])
    api = HfApi(endpoint=hub.endpoint, token=token)      # unmodified; HF_HUB_DISABLE_XET=1 in its environment
    hub.faults.add(r"/commit/", method="POST", drop=True, when="after")   # applied, but the answer is lost
    hub.repo_path("dataset", "ada/chats")                # a bare repository: ask git what is in it
    with hub.guard.lifted(): ...                         # sharing datasets are else written to by the push alone
    hub.stop()

It speaks: whoami-v2; repositories (create, delete, move, list, information, settings, refs, branches, tags); yaml
validation; preupload, commit, tree, paths-info, commits, resolve; large files (batch, upload, verify, list, delete
for good); squashing; access requests; discussions; OAuth; storage buckets (create, delete, move, list, settings, tree,
paths-info, batch, copies between buckets) with the Xet storage server they need. Not: merging pull requests, Xet for
the repositories (hence HF_HUB_DISABLE_XET; buckets take no notice of it).

    hub.bucket_path("ada/wal")                           # a folder: `content/` is exactly what the bucket's files hold
"""

from .accounts import Org
from .faults import Fault, Faults, Logged
from .server import LoopbackHub

__all__ = ["Fault", "Faults", "Logged", "LoopbackHub", "Org"]
