"""Names that containers and their tests share."""

from __future__ import annotations

from pathlib import Path

PROJECT = Path(__file__).parents[2]
BASE = "bgpctl-base"
