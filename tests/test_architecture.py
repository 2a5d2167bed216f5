"""The arrows between the parts: who may import what, and that importing does nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [*sorted(path for folder in ("chat", "privacy") for path in (ROOT / folder).rglob("*.py")), ROOT / "app.py"]

# Library -> the files, or folders ending in "/", that may import it.
ALLOWED = {
    "gradio": ("app.py", "chat/web/", "privacy/web/"),
    "huggingface_hub": (
        "chat/hub.py",
        "chat/hub_",
        "chat/models/lookup.py",
        "chat/visitors/sessions.py",
        "chat/engines/adapters.py",
    ),
    "text_generation": ("chat/engines/adapters.py",),
    "vllm": (),
    "torch": (),
    "sqlite3": ("chat/", "privacy/"),
    "datasets": (),
    # A sharing dataset is written by `push()` alone, and read by the audit.
    "chat.dataset_repo": (
        "app.py",
        "chat/",
        "privacy/sharing.py",
        "privacy/push.py",
        "privacy/trying.py",
        "privacy/strays.py",
        "privacy/head.py",
        "privacy/snapshot.py",
        "privacy/audit.py",
        "privacy/access.py",
    ),
    "chat.hub": ("chat/repositories.py", "chat/rotate.py", "privacy/audit.py"),
    "pyarrow": ("privacy/shards.py",),
    "re2": ("privacy/detectors/",),
    "phonenumbers": ("privacy/detectors/",),
    "stdnum": ("privacy/detectors/",),
    "fastapi": ("app.py", "chat/web/", "privacy/web/", "chat/visitors/asking.py", "chat/visitors/returning.py"),
    "privacy": ("app.py", "privacy/"),
    "chat.web": ("app.py", "chat/web/", "privacy/web/"),
    "chat.settings": ("app.py", "chat/repositories.py"),
    "chat.variables": ("chat/settings.py",),
    "app": (),
    "tests": (),
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_no_page_model_or_engine_speaks_to_the_database_itself():
    folders = ("chat/web/", "chat/engines/", "chat/models/", "privacy/web/")
    speaking = {str(path.relative_to(ROOT)) for path in SOURCES if "sqlite3" in imports(path)}
    assert not {path for path in speaking if path.startswith(folders)}


@pytest.mark.parametrize("library", ALLOWED)
def test_a_library_is_imported_only_where_it_belongs(library):
    users = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if any(name == library or name.startswith(f"{library}.") for name in imports(path))
    }
    strangers = {user for user in users if not user.startswith(tuple(ALLOWED[library]) or ("none",))}
    assert not strangers, f"{library} is imported by {sorted(strangers)}"


def test_importing_the_app_opens_nothing():
    """No file, no socket, no thread, no child: `app.build` does all of it."""
    program = """
import sys, threading
opened = []
sys.addaudithook(lambda event, args: opened.append((event, args[:1])) if
    event in ("socket.bind", "socket.connect", "subprocess.Popen", "sqlite3.connect")
    or event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+") else None)
import app
assert not opened, opened
assert threading.active_count() == 1, threading.enumerate()
"""
    done = subprocess.run(
        [sys.executable, "-B", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": "/nonexistent",
            "GRADIO_ANALYTICS_ENABLED": "False",
            "MPLCONFIGDIR": "/tmp",
        },
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_scan_sees_what_it_should():
    """Guards the guard: an import inside a function counts too."""
    assert "huggingface_hub" in imports(ROOT / "chat" / "visitors" / "sessions.py")
