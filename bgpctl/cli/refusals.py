"""
Errors that are no fault in the words of a command: a refusal, and a name of something that is not there.

Refuses to know: who refuses, and why.
"""

from __future__ import annotations

import click

from bgpctl.cli.exits import Exit


class Refusal(click.ClickException):
    """It cannot be done now: no permission, something is missing on this host, or a guard refuses."""

    exit_code = Exit.REFUSED


class NotFound(click.ClickException):
    """A name or an address, well spelled, of something that the files, the agent or the lab do not have."""

    exit_code = Exit.INVALID
