"""What this process writes about failures: their kind and place, never their text.

An exception's text may quote what somebody said: Gradio's do (`validate_inputs` lists the inputs), pydantic's and those
of codecs do, and so does what asyncio logs about a task that failed. Every way out is covered: tracebacks of the
`traceback` module (Gradio's `print_exc`, logging's `exc_info`, uvicorn's "Exception in ASGI application"), the
interpreter's own hooks, warnings, and the messages of loggers.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
import warnings
from types import TracebackType
from typing import Any

# Their messages are fixed sentences about the server. Of any other logger's record its place is written.
SPEAKS = ("uvicorn", "uvicorn.error")


class WithoutText(traceback.TracebackException):
    """A traceback whose exceptions are named by their type (an `OSError` by its number too): no text, no notes."""

    def __init__(
        self, exc_type: type[BaseException], exc_value: BaseException | None, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(exc_type, exc_value, *args, **kwargs)
        self._str = f"errno {exc_value.errno}" if isinstance(exc_value, OSError) and exc_value.errno else ""
        self.__notes__ = None
        if isinstance(exc_value, SyntaxError):
            self.filename, self.text, self.msg = None, None, ""


def hush() -> None:
    """From now on, in this whole process. Called once, when there is something to say that must not be repeated."""
    # Everything in the `traceback` module, causes and groups included, makes its tracebacks by this name.
    traceback.TracebackException = WithoutText  # type: ignore[misc]
    sys.excepthook = _write
    threading.excepthook = lambda args: _write(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _write(args.exc_type, args.exc_value, args.exc_traceback)
    warnings.showwarning = _write_warning
    make = logging.getLogRecordFactory()

    def record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        made = make(*args, **kwargs)
        if made.name not in SPEAKS:
            made.msg, made.args = f"{made.name} has something to say at {made.pathname}:{made.lineno}", ()
        return made

    logging.setLogRecordFactory(record)


def _write(kind: type[BaseException], error: BaseException | None, where: TracebackType | None) -> None:
    if sys.stderr is not None and not issubclass(kind, SystemExit):
        traceback.print_exception(kind, error, where)


def _write_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
    if sys.stderr is not None:
        print(f"{filename}:{lineno}: {category.__name__}", file=sys.stderr)
