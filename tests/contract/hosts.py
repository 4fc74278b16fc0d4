"""Two hosts side by side."""

from __future__ import annotations

from typing import Final

ENDS: Final = {4: ("10.9.0.1", "10.9.0.2"), 6: ("fd00:9::1", "fd00:9::2")}
"""Addresses of two hosts side by side."""
