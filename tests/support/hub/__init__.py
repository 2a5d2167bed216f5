"""A Hugging Face Hub on this machine, for tests and for trying the app out.

    hub = LoopbackHub(folder).start()
    token = hub.add_user("ada", orgs=[Org("acme", plan="enterprise")])
    api = HfApi(endpoint=hub.endpoint, token=token)      # unmodified; HF_HUB_DISABLE_XET=1 in its environment
    hub.faults.add(r"/commit/", method="POST", drop=True, when="after")   # applied, but the answer is lost
    hub.repo_path("dataset", "ada/chats")                # a bare repository: ask git what is in it
    hub.stop()

It speaks: whoami-v2; repositories (create, delete, move, list, information, settings, refs, branches, tags); yaml
validation; preupload, commit, tree, paths-info, commits, resolve; large files (batch, upload, verify, list, delete
for good); squashing; access requests; discussions; OAuth. Not yet: buckets, Xet, merging pull requests.

For buckets, whose content the client sends through Xet only: hf_xet takes a folder for its storage server. A token
route that answers `{"casUrl": "local:///DIR", "accessToken": ..., "exp": ...}` (and the `X-Xet-*` headers of the same)
makes the client write there, and `XetSession().new_download_stream_group(token_refresh_url=...)` reads a file back by
its hash alone. Chunks are stored uncompressed when small, so what a deletion leaves behind can be searched for.
"""

from .accounts import Org
from .faults import Fault, Faults, Logged
from .server import LoopbackHub

__all__ = ["Fault", "Faults", "Logged", "LoopbackHub", "Org"]
