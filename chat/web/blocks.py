"""Gradio's Blocks, where a call that cannot be used is refused in a sentence, and what fails is repeated to nobody."""

from __future__ import annotations

from typing import Any

import gradio as gr

# Gradio runs this many events at once. More than there may be answers, so that what else is asked for need not wait.
EVENTS_AT_ONCE = 100
EVENTS_WAITING = 200

BROKEN = "Something went wrong in the app, and this call was ended. Try again; if it stays, tell the operator."


class Blocks(gr.Blocks):
    """`gr.Blocks` whose endpoints are called through the queue: only there does Gradio stream, and notice who left."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # The queue takes its number of workers when it is made.
        self.max_threads = EVENTS_AT_ONCE
        self.queue(api_open=False, max_size=EVENTS_WAITING)

    async def process_api(self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Inputs left out at the end are None. Every failure is a `gr.Error`: of others Gradio tells nothing."""
        wanted = len(self.fns[block_fn].inputs if isinstance(block_fn, int) else block_fn.inputs)
        if len(inputs) > wanted:
            raise refusal(f"This takes at most {wanted} inputs, and {len(inputs)} came.")
        try:
            return await super().process_api(block_fn, inputs + [None] * (wanted - len(inputs)), *args, **kwargs)
        except gr.Error:
            raise
        except Exception as error:
            # Gradio prints it, with its cause: the type and the place, see `chat/hush.py`.
            raise gr.Error(BROKEN) from error


def refusal(sentence: str) -> gr.Error:
    """An error whose sentence reaches the caller and no log."""
    return gr.Error(sentence, print_exception=False)
