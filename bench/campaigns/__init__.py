"""Long measurements on the real parts. Each module has `run() -> Table`."""
