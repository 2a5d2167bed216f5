"""What answers: the adapters of four kinds of server, their errors, and the co-located vLLM processes."""
