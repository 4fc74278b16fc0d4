"""
Runs what takes longer than `make test` should, one part after the other, and writes build/nightly.md.

    make nightly                      # all parts
    tools/nightly.py PART…            # some of them, by name

A part has its own time limit and may fail without stopping the others; the exit code is 1 if any failed. The output of
each part is in build/nightly/. build/nightly.md is written anew after each part; docs/nightly.md is a copy of one run.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

PROJECT: Final = Path(__file__).resolve().parents[1]
BUILD: Final = PROJECT / "build"
PYTEST: Final = f"{sys.executable} -m pytest --quiet"
GRACE_S: Final = 60.0
"""How long an interrupted part may take to tidy up before it is killed."""
LAST_LINES: Final = 8


class Part(NamedTuple):
    """A shell command, the variables that it gets beside ours, and how long it may take."""

    name: str
    command: str
    limit_min: float
    variables: Mapping[str, str] = {}


# At most six hours together, on two cores.
PARTS: Final = (
    Part("test", "make test", 45),
    Part(
        "laws",
        f"{PYTEST} -n 2 --dist worksteal tests/laws",
        55,
        {"HYPOTHESIS_PROFILE": "nightly", "BGPCTL_TEST_STORIES": "200000", "BGPCTL_TEST_MESSAGES": "1000000"},
    ),
    Part(
        "faults",
        f"{PYTEST} tests/lab/test_interrupts.py tests/nightly/test_faults.py",
        18,
        {"BGPCTL_TEST_FAULTS": "200", "BGPCTL_TEST_INTERRUPTS": "10"},
    ),
    Part("edits", f"{PYTEST} tests/lab/test_apply.py -k sessions_and_pairs", 12, {"BGPCTL_TEST_EDITS": "30"}),
    Part("etcd", f"{PYTEST} -s tests/nightly/test_etcd_faults.py", 6),
    Part("ipam", f"{PYTEST} -s tests/nightly/test_ipam.py", 14),
    Part(
        "podman",
        f"tools/system-packages podman; {PYTEST} tests/nightly/test_podman.py",
        12,
        {"BGPCTL_TEST_CONTAINERS": "200"},
    ),
    Part("fuzz", f"{PYTEST} tests/nightly/test_fuzz.py", 10, {"BGPCTL_TEST_FUZZ_S": "60"}),
    Part("newest dependencies", "make test-newest", 12),
    Part("flood", f"{PYTEST} tests/interop/test_hostile.py", 4, {"BGPCTL_TEST_FLOOD": "1000000"}),
    # Each cut is found by two sessions of each interval.
    Part(
        "bfd",
        f"{PYTEST} -s tests/contract/test_bfd.py",
        15,
        {"BGPCTL_TEST_BFD_CUTS": "25", "BGPCTL_TEST_BFD_CALM_S": "600"},
    ),
    Part("map", f"{PYTEST} tests/ui tests/lab/test_map.py", 5, {"BGPCTL_TEST_MAP": "1"}),
    Part("trace", f"{PYTEST} tests/contract/test_trace.py", 2, {"BGPCTL_TEST_TRACE": "1500"}),
    Part(
        "docker",
        f"{PYTEST} tests/nightly/test_docker_plugin.py tests/nightly/test_docker_document.py"
        " tests/nightly/test_compose_names.py",
        10,
        {"BGPCTL_TEST_CONTAINERS": "200"},
    ),
    Part("packets", f"{PYTEST} tests/nightly/test_packet_cases.py tests/nightly/test_mtu_discovery.py", 14),
    Part("healthy", f"{PYTEST} tests/nightly/test_healthy.py", 14, {"BGPCTL_TEST_HEALTHY": "500"}),
    Part("damage", f"{PYTEST} tests/nightly/test_damage.py", 5, {"BGPCTL_TEST_DAMAGES": "200"}),
    Part("docs", "make docs", 4),
    Part(
        "packages",
        f"tools/system-packages release && make release && {PYTEST} tests/bare/test_package.py "
        "tests/nightly/test_pages.py tests/unit/test_ansible.py",
        36,
        {"BGPCTL_TEST_PACKAGE": "1"},
    ),
    Part("bench", "make bench", 8, {"QUICK": "1", "FORCE": "1"}),
    Part("bench-switch", "make bench-switch", 59, {"PPS": "200"}),
)


class Result(NamedTuple):
    """The result of a part: its exit code, None if it was stopped at its limit; what it printed; how long it took."""

    part: Part
    code: int | None
    output: str
    took_s: float

    @property
    def word(self) -> str:
        """For the table."""
        return "too slow" if self.code is None else "failed" if self.code else "ok"


def main(names: Sequence[str]) -> int:
    """Run the parts of these names, or all."""
    if unknown := set(names) - {part.name for part in PARTS}:
        sys.stderr.write(f"no such part: {', '.join(sorted(unknown))}\n")
        return 2
    place, logs = facts(), BUILD / "nightly"
    logs.mkdir(parents=True, exist_ok=True)
    results: list[Result] = []
    for part in PARTS:
        if names and part.name not in names:
            continue
        sys.stderr.write(f"{part.name}: {part.command}\n")
        results.append(run(part, logs / f"{part.name.replace(' ', '-')}.log"))
        sys.stderr.write(f"{part.name}: {results[-1].word} in {duration(results[-1].took_s)}\n")
        (BUILD / "nightly.md").write_text(summary(place, results))
    return int(any(result.code != 0 for result in results))


def run(part: Part, log: Path, grace_s: float = GRACE_S) -> Result:
    """The part's result; at its limit it is interrupted, as by Ctrl-C, so that tests take down what they built."""
    # Without make's own variables: another make would join its job server.
    ours = {name: value for name, value in os.environ.items() if name not in ("MAKELEVEL", "MAKEFLAGS", "MFLAGS")}
    began_s = time.monotonic()
    with log.open("wb") as output:
        running = subprocess.Popen(
            # A background job of a shell ignores SIGINT, and what ignores it from its start cannot trap it.
            ("env", "--default-signal=INT", "sh", "-c", part.command),
            cwd=PROJECT,
            env={**ours, **part.variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            code: int | None = running.wait(part.limit_min * 60)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            end(running, grace_s)
    return Result(part, code, log.read_text(errors="replace"), time.monotonic() - began_s)


def end(running: subprocess.Popen[bytes], grace_s: float) -> None:
    """End the part and whatever of it is left."""
    if running.poll() is None:
        os.killpg(running.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(grace_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    running.wait()


# The summary ---------------------------------------------------------------------------------------------------

_KINDS: Final = {"passed": "passed", "failed": "failed", "error": "failed", "errors": "failed", "skipped": "skipped"}
_LAST_LINE: Final = re.compile(r"^(?:=+ )?(\d+ [a-z]+(?:, \d+ [a-z]+)*) in [\d.]+s", re.MULTILINE)
_FAILURE: Final = re.compile(r"^(?:FAILED|ERROR) .*", re.MULTILINE)


def counts(output: str) -> Counter[str]:
    """Tests passed, failed and skipped, from the last line of every pytest."""
    found: Counter[str] = Counter()
    for line in _LAST_LINE.findall(output):
        for number, kind in re.findall(r"(\d+) ([a-z]+)", line):
            if kind in _KINDS:
                found[_KINDS[kind]] += int(number)
    return found


def failures(result: Result) -> list[str]:
    """The failed tests, as pytest names them; the end of the output where no test did."""
    return _FAILURE.findall(result.output) or result.output.splitlines()[-LAST_LINES:]


def duration(seconds: float) -> str:
    """In minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def facts() -> dict[str, str]:
    """The runs, their machine and their time."""
    return {
        "date": dt.datetime.now(tz=dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": output_of("git", "describe", "--always", "--dirty=, with changes", "--exclude=*"),
        "kernel": platform.release(),
        "Debian": Path("/etc/debian_version").read_text().strip() if Path("/etc/debian_version").exists() else "none",
        "Python": platform.python_version(),
        "cores": str(len(os.sched_getaffinity(0))),
    }


def output_of(*command: str) -> str:
    """A program's answer, and what stands for it where there is none."""
    answer = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"


def summary(place: Mapping[str, str], results: Sequence[Result]) -> str:
    """The page."""
    lines = ["# The last nightly run", "", *(f"- {name}: {value}" for name, value in place.items()), ""]
    lines += ["| part | result | passed | failed | skipped | duration |", "|---|---|---|---|---|---|"]
    for result in results:
        tests = counts(result.output)
        numbers = [str(tests[kind]) if tests else "" for kind in ("passed", "failed", "skipped")]
        lines.append("| " + " | ".join([result.part.name, result.word, *numbers, duration(result.took_s)]) + " |")
    for result in results:
        if result.code != 0:
            how = f"did not end in {result.part.limit_min:g} min" if result.code is None else f"exit {result.code}"
            lines += ["", f"## {result.part.name}", "", f"`{result.part.command}`: {how}", "", "```text"]
            lines += [*failures(result), "```"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # parts inherit a SIGINT that a shell may have had ignored
    sys.exit(main(sys.argv[1:]))
