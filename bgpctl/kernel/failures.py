"""
The kernel's refusals of operations → failures, with hints. What is to be removed and is not there is none.

Refuses to know: how operations are requested.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from bgpctl.core.dataplane.effects import Failure, Op, Remove
from bgpctl.kernel.hints import hint
from bgpctl.kernel.netlink import Refusal

_ABSENT: Final = frozenset({errno.ESRCH, errno.ENOENT, errno.ENODEV, errno.EADDRNOTAVAIL})


def refused(ops: Sequence[Op], refusals: Iterable[Refusal]) -> Iterator[Failure]:
    """Each operation of `ops`, that of each request, once."""
    reported: set[Op] = set()
    for refusal in refusals:
        op = ops[refusal.place]
        if op not in reported and not _was_absent(op, refusal.errno):
            reported.add(op)
            yield _failure(op, refusal.errno, refusal.text)


def failures_of(op: Op, error: OSError) -> Iterator[Failure]:
    """The failure of an operation that was not requested, or none."""
    code = error.errno or errno.EIO
    if not _was_absent(op, code):
        yield _failure(op, code, error.strerror or str(error))


def _was_absent(op: Op, code: int) -> bool:
    return isinstance(op, Remove) and code in _ABSENT


def _failure(op: Op, code: int, text: str = "") -> Failure:
    return Failure(op, code, text, hint(op.object, code))
