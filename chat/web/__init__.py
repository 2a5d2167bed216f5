"""The page, its live route and its named endpoints. The only part of `chat` that knows Gradio and HTTP."""
