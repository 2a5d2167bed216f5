"""`make bench`: every benchmark, each with its baseline from the same run. `make bench ARGS=page_path` runs one."""

from __future__ import annotations

import importlib
import sys

BENCHMARKS = (
    *("engine_read", "page_path", "long_conversation", "conversations", "browser"),
    *("restore", "sync", "sharing", "redaction"),
)


def main() -> None:
    for name in sys.argv[1:] or BENCHMARKS:
        if name not in BENCHMARKS:
            sys.exit(f"There is no benchmark {name!r}. There are: {', '.join(BENCHMARKS)}.")
        print(importlib.import_module(f"bench.{name}").main(), flush=True)


if __name__ == "__main__":
    main()
