"""
`make bench`: every part of bench/parts.py, one after the other, then the page and the pictures.

    make bench                        # all parts, in 40 minutes at most
    make bench QUICK=1                # less of each, in five minutes; docs/ stays as it is
    make bench PARTS="live fib"       # some of them
    make bench FORCE=1                # although others use the machine; the results say so
    python -m bench.run NAME          # one part with its own variables, whatever else runs here

Results are in bench/results (quick: bench/results/quick, by name: bench/results/alone), one file of JSON a part. A
part during which others used the machine does not count: its file is kept aside as NAME.busy.json, and the exit code
is 1, as for a part that failed.

Refuses to know: what a part measures.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench import pages
from bench.common import figures, machine
from bench.common.ending import ends_orderly
from bench.common.processes import children_of
from bench.parts import Part, planned, share_s

RESULTS: Final = machine.PROJECT / "bench" / "results"
MACHINE: Final = "machine.json"
CHECK_S: Final = 3.0
GRACE_S: Final = 60.0
"""How long a part may take to take down what it built, once it is interrupted."""
_PR_SET_CHILD_SUBREAPER: Final = 36


def main(names: Sequence[str]) -> int:
    """Run one part by name, or all that are planned."""
    become_reaper()
    if names:
        return alone(*names)
    quick, forced = bool(os.environ.get("QUICK")), bool(os.environ.get("FORCE"))
    try:
        parts = planned(quick=quick, names=os.environ.get("PARTS", "").split())
    except ValueError as unknown:
        return refused(str(unknown))
    busy = machine.too_busy(resting_use(), os.getloadavg()[0])
    if busy and not forced:
        return refused(f"the machine is busy: {busy}; FORCE=1 measures all the same, and the results say so")
    output = RESULTS / "quick" if quick else RESULTS
    made = everything(parts, output, quick=quick, forced=forced)
    print(pages.text(output))
    if not quick:
        pages.write(output)
    return int(any(row["result"] != "ok" for row in made.values()))


def refused(reason: str) -> int:
    sys.stderr.write(f"bench: {reason}\n")
    return 2


def alone(name: str) -> int:
    """
    One part, with the variables of the caller before its own, and with QUICK those of the quick mode; each wait in it
    has an end, but it may take as long as it wants. For no page.
    """
    try:
        (part,) = planned(quick=False, names=[name])
    except ValueError as unknown:
        return refused(str(unknown))
    variables = part.quick if os.environ.get("QUICK") else part.full
    row = run(part, {**variables, **os.environ}, RESULTS / "alone" / f"{name}.json", None)
    sys.stderr.write(f"{name}: {row['result']} in {row['took_s']} s; {row['others']} CPUs used by others\n")
    return int(row["result"] != "ok")


def everything(parts: Sequence[Part], output: Path, *, quick: bool, forced: bool) -> dict[str, dict[str, Any]]:
    """Each part's row: what came of it, how long it took, who else used the machine."""
    output.mkdir(parents=True, exist_ok=True)
    place = machine.facts()
    made: dict[str, dict[str, Any]] = {}
    for part in parts:
        sys.stderr.write(f"\n--- {part.name}, {share_s(part, quick=quick):.0f} s at most\n")
        variables = {**os.environ, **(part.quick if quick else part.full)}
        file = output / f"{part.name}.json"
        fresh = output / f"{part.name}.new.json"
        row = run(part, variables, fresh, share_s(part, quick=quick))
        made[part.name] = judged(row, fresh, file, forced=forced) | {"date": place["date"], "commit": place["commit"]}
        sys.stderr.write(f"--- {part.name}: {made[part.name]['result']} in {row['took_s']} s\n")
        former = known(output)
        figures.write(
            output / MACHINE, {"machine": place, "forced": forced, "parts": {**former.get("parts", {}), **made}}
        )
    return made


def known(output: Path) -> dict[str, Any]:
    """The content of the file about the machine by now."""
    try:
        found: dict[str, Any] = json.loads((output / MACHINE).read_text())
    except FileNotFoundError:
        return {}
    return found


def judged(row: dict[str, Any], fresh: Path, file: Path, *, forced: bool) -> dict[str, Any]:
    """The row, and the results in their place: of a busy machine only if that was forced."""
    if not fresh.exists():
        return row
    if row["busy"] and not forced:
        fresh.replace(file.with_suffix(".busy.json"))
        return {**row, "result": "disturbed" if row["result"] == "ok" else row["result"]}
    fresh.replace(file)
    return row


def run(part: Part, variables: Mapping[str, str], output: Path, within_s: float | None) -> dict[str, Any]:
    """One part in a process of its own; all that it started has ended afterwards."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.unlink(missing_ok=True)
    began_s, before, ours_s = time.monotonic(), machine.now(), own_cpu_s()
    command = (sys.executable, "-m", part.module, *part.words, str(output))
    own = {*children_of(os.getpid())}
    share = {} if within_s is None else {"BENCH_SHARE_S": str(within_s)}
    running = subprocess.Popen(command, cwd=machine.PROJECT, env={**variables, **share})
    try:
        code = waited(running, within_s, own)
    finally:
        ended(running, own)
    took_s = time.monotonic() - began_s
    found = machine.use(before, machine.now(), own_cpu_s() - ours_s, took_s)
    # A benchmark that measured, but missed a bar of its own, has exit code 1 and its file.
    result = "too slow" if code is None else "ok" if output.exists() and code in (0, 1) else "failed"
    return {
        "result": result,
        "took_s": round(took_s, 1),
        "others": round(found.others, 3),
        "steal": round(found.steal, 3),
        "load": round(os.getloadavg()[0], 1),
        "busy": found.busy,
    }


# Processes -------------------------------------------------------------------------------------------------------


def become_reaper() -> None:
    """Orphans of a part become our children: then their CPU is known in the end, and they can be ended."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def own_cpu_s() -> float:
    """CPU of this process and of all that it has started and that has ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def waited(running: subprocess.Popen[bytes], within_s: float | None, own: Collection[int]) -> int | None:
    """Its exit code, None at its limit. Orphans that end meanwhile are reaped."""
    deadline_s = time.monotonic() + (within_s if within_s is not None else float("inf"))
    while running.poll() is None:
        if time.monotonic() > deadline_s:
            return None
        for pid in {*children_of(os.getpid())}.difference(own, {running.pid}):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.2)
    return running.returncode


def ended(running: subprocess.Popen[bytes], own: Collection[int]) -> None:
    """End the part, which takes down what it built, then all that is left of it; `own` are children from before."""
    if running.poll() is None:
        running.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(GRACE_S)
    if running.poll() is None:
        running.kill()
        running.wait()
    while orphans := {*children_of(os.getpid())}.difference(own):
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def resting_use() -> machine.Use:
    """The use of the machine by others while we do nothing."""
    before, ours_s, began_s = machine.now(), own_cpu_s(), time.monotonic()
    time.sleep(CHECK_S)
    return machine.use(before, machine.now(), own_cpu_s() - ours_s, time.monotonic() - began_s)


if __name__ == "__main__":
    ends_orderly()
    sys.exit(main(sys.argv[1:]))
