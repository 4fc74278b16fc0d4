"""Documents as located trees → Intent, or all problems with their places."""

from bgpctl.core.intent.load import read

__all__ = ["read"]
