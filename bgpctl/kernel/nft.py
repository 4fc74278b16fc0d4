"""
Our nftables tables: each replaced whole in one transaction, and listed as JSON.

Refuses to know: what the tables are for.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
from typing import Any, Final

_ANSWER_S: Final = 10.0


def replace(table: str, body: str) -> None:
    """Make table `ip <table>` contain exactly `body`. Raises OSError with nft's complaint."""
    _run(["-f", "-"], f"{_without(table)}\ntable ip {table} {{\n{body}\n}}\n")


def remove(table: str) -> None:
    """Delete the table; absent is no error. Raises OSError with nft's complaint."""
    _run(["-f", "-"], f"{_without(table)}\n")


def listed(table: str) -> list[dict[str, Any]]:
    """
    The table's sets, chains and rules as `nft -j` shows them; empty where there is no such table or no nft.

    Raises:
        OSError: with nft's complaint.
    """
    try:
        text = _run(["-j", "list", "table", "ip", table])
    except OSError as error:
        if error.errno in (errno.ENOPKG, errno.ENOENT):
            return []
        raise
    return list(json.loads(text)["nftables"])


def _without(table: str) -> str:
    """Declaring the table first makes deleting it succeed where it was absent."""
    return f"table ip {table}\ndelete table ip {table}"


def _run(arguments: list[str], text: str = "") -> str:
    """Run nft in the calling thread's namespace."""
    try:
        done = subprocess.run(
            ["nft", *arguments], input=text, capture_output=True, text=True, timeout=_ANSWER_S, check=False
        )
    except FileNotFoundError:
        raise OSError(errno.ENOPKG, "the program nft is not installed") from None
    except subprocess.TimeoutExpired:
        raise OSError(errno.ETIMEDOUT, f"nft did not answer within {_ANSWER_S} s") from None
    if done.returncode:
        complaint = done.stderr.strip()
        code = next((code for code in (errno.EPERM, errno.ENOENT) if os.strerror(code) in complaint), errno.EINVAL)
        raise OSError(code, complaint)
    return done.stdout
