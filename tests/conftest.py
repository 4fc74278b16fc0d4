"""Profiles and fixtures shared by all tests."""

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.docs.blocks import EXECUTED

settings.register_profile("default", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("nightly", max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """
    What tests `record_property("told", …)` is printed at the end, from whatever process they ran in, and how many
    command blocks of documents were executed.
    """
    blocks = 0
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties if report.when == "call" else ():
            if name == "told":
                terminalreporter.write_line(str(value))
            blocks += value if name == EXECUTED else 0
    if blocks:
        terminalreporter.write_line(f"documents: {blocks} command blocks executed")
