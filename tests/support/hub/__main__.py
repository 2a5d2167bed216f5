"""Runs the loopback Hub for a person: `python -m tests.support.hub --root DIR --port 7861`."""

from __future__ import annotations

import argparse
import signal
import threading
from contextlib import nullcontext
from pathlib import Path

from . import LoopbackHub


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.hub", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder of the repositories; made if missing")
    parser.add_argument("--port", type=int, default=7861, help="port of the Hub (default 7861)")
    parser.add_argument("--app", default="http://127.0.0.1:7860", help="address of the app that people sign in to")
    parser.add_argument(
        "--unguarded", action="store_true", help="let anybody write to sharing datasets, as a stolen token might"
    )
    arguments = parser.parse_args()
    arguments.root.mkdir(parents=True, exist_ok=True)
    hub = LoopbackHub(arguments.root, arguments.port)
    token = hub.add_user("demo", token="hf_demo_of_the_loopback_hub")
    hub.add_user("visitor", token="hf_visitor_of_the_loopback_hub")
    addresses = {arguments.app.rstrip("/"), arguments.app.rstrip("/").replace("127.0.0.1", "localhost")}
    hub.oauth.add_client("parley", "parley-secret", [f"{address}/login/callback" for address in addresses])
    with hub, hub.guard.lifted() if arguments.unguarded else nullcontext():
        print(
            f"The loopback Hub is at {hub.endpoint}, its repositories are in {arguments.root}.\n\n"
            f"  export HF_ENDPOINT={hub.endpoint} HF_HUB_DISABLE_XET=1\n"
            f"  export HF_TOKEN={token}    # user demo\n"
            f"  export STORE_DATASET=demo/conversations SHARE_NAMESPACE=demo QUIET_HOURS=0 SYNC_SECONDS=5 COMMITS_PER_HOUR=100000\n"
            f"  export OPENID_PROVIDER_URL={hub.endpoint} OAUTH_CLIENT_ID=parley OAUTH_CLIENT_SECRET=parley-secret\n\n"
            f"What a repository holds, private ones too: git -C {arguments.root}/datasets/demo/NAME.git log -p\n"
            "Ctrl-C ends it.",
            flush=True,
        )
        ended = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        ended.wait()


if __name__ == "__main__":
    main()
