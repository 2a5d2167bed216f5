"""A complete chat app on a vLLM engine. Imports nothing from `privacy`."""
