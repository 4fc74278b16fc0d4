"""
Interleaved rounds: every subject once, then every subject again, so that what the machine does meanwhile meets all.

Refuses to know: what is measured.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

from bench.common.subjects import present

Case = TypeVar("Case")

_GIVEN_UP: Final = (AssertionError, TimeoutError, OSError, RuntimeError)
_OF_SHARE: Final = 0.8
"""Of the time that a benchmark may take, within which the last measurement begins."""


def interleaved(
    subjects: Iterable[str],
    cases: Sequence[Case],
    rounds: int,
    measure: Callable[[str, Case], Iterable[dict[str, Any]]],
    show: Callable[[dict[str, Any]], str],
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """
    The samples of all rounds, and the reason of each subject and case that is left out: its programs are absent; it did
    not get there in time, after which it is not tried again; or the time is used that BENCH_SHARE_S allows. An
    interruption, as at the end of that time, keeps the samples that there are.
    """
    ends_s = time.monotonic() + float(os.environ.get("BENCH_SHARE_S", "inf")) * _OF_SHARE
    running, absent = present(subjects)
    samples: list[dict[str, Any]] = []
    name = ""
    try:
        for turn, case, subject in _turns(running, cases, rounds):
            name = f"{subject}, {case}"
            if name in absent:
                continue
            if time.monotonic() > ends_s:
                absent.update({} if turn else {name: "no time was left"})
                continue
            try:
                for sample in measure(subject, case):
                    samples.append(sample)
                    print(show(sample), flush=True)
            except _GIVEN_UP as error:
                absent[name] = str(error) or type(error).__name__
                sys.stderr.write(f"{name}: {absent[name]}\n")
    except KeyboardInterrupt:
        absent[name] = "interrupted"
    return samples, absent


def _turns(subjects: Sequence[str], cases: Sequence[Case], rounds: int) -> Iterator[tuple[int, Case, str]]:
    return ((turn, case, subject) for turn in range(rounds) for case in cases for subject in subjects)
