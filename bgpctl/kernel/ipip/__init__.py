"""IP in IP on Linux: by the kernel's ipip module, or without it by BPF programs."""

from typing import Final

TABLE: Final = "bgpctl_ipip"
"""The nftables table that limits whose packets the module decapsulates; another driver removes it."""
