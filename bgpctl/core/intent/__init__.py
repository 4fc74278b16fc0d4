"""Documents as located trees → Intent, or all problems with their places."""

from bgpctl.core.intent.load import combined, fragment, read

__all__ = ["combined", "fragment", "read"]
