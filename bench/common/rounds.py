"""
Interleaved rounds: every subject once, then every subject again, so that what the machine does meanwhile meets all.

Refuses to know: what is measured.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from bench.common.subjects import present

Case = TypeVar("Case")

_GIVEN_UP: Final = (AssertionError, TimeoutError, OSError, RuntimeError)


def interleaved(
    subjects: Iterable[str],
    cases: Sequence[Case],
    rounds: int,
    measure: Callable[[str, Case], Iterable[dict[str, Any]]],
    show: Callable[[dict[str, Any]], str],
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """
    The samples of all rounds, and the reason of each subject and case that is left out: its programs are absent, or it
    did not get there in time, after which it is not tried again.
    """
    running, absent = present(subjects)
    samples: list[dict[str, Any]] = []
    for _ in range(rounds):
        for case in cases:
            for subject in running:
                name = f"{subject}, {case}"
                if name in absent:
                    continue
                try:
                    for sample in measure(subject, case):
                        samples.append(sample)
                        print(show(sample), flush=True)
                except _GIVEN_UP as error:
                    absent[name] = f"{type(error).__name__}: {error}"
                    sys.stderr.write(f"{name}: {absent[name]}\n")
    return samples, absent
