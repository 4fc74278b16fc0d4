"""Profiles and fixtures shared by all tests."""

import os
import textwrap
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from tests import machine
from tests.docs.blocks import EXECUTED
from tests.stories.play import Play

settings.register_profile("default", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples each time: a change is judged by what it changes. New ones are sought by the others.
settings.register_profile(
    "ci", max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
# Where it is asked whether the tests run at all.
settings.register_profile(
    "few", max_examples=5, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
settings.register_profile("nightly", max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Say what the tests run on; a report header would be hidden by --quiet."""
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal and not hasattr(session.config, "workerinput"):
        terminal.write_line(textwrap.fill(machine.description(), 100, subsequent_indent="  ", break_on_hyphens=False))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    """At the end of a test no play has a command left that its story did not expect."""
    Play.unfinished.clear()
    yield
    for play in list(Play.unfinished):
        play.end()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """
    Print the properties that tests record as `record_property("summary", …)`, from whatever process they ran in,
    and how many command blocks of documents were executed.
    """
    blocks = 0
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties if report.when == "call" else ():
            if name == "summary":
                terminalreporter.write_line(str(value))
            blocks += value if name == EXECUTED else 0
    if blocks:
        terminalreporter.write_line(f"documents: {blocks} command blocks executed")
