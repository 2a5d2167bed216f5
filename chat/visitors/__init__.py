"""Who is asking: sessions, sign-in, API keys, and which origins may do what."""
