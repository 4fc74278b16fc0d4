"""Right inputs, changed by chance. The same number gives the same changes: a failure names it."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

FUZZ_S: Final = float(os.environ.get("BGPCTL_TEST_FUZZ_S", "2"))
"""How long each kind of input is changed and given."""
SEED: Final = int(os.environ.get("BGPCTL_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)

_LUMPS: Final = (
    *(
        b"\0",
        b"\xff",
        b"\xff\xff\xff\xff",
        b"\n",
        b"\r\n\r\n",
        b"{",
        b"}",
        b"[[[[",
        b'"',
        b"'",
        b",",
        b": ",
        b"-",
        b"#",
    ),
    *(b"null", b"true", b"1e999", b"-1", b"9" * 40, b"NaN", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"*a", b"&a ", b"<<: "),
    *(
        b"..%2f",
        b"%00",
        b"%",
        b"?a=b&a=c",
        b"Content-Length: 5\r\n",
        b"!!python/object:os.system ",
        b"0.0.0.0/0",
        b"::",
    ),
)


def changed(chance: random.Random, samples: Sequence[bytes]) -> bytes:
    """One of the samples after one to eight changes."""
    data = bytearray(chance.choice(samples))
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        _change(chance, data, samples)
    return bytes(data)


def _change(chance: random.Random, data: bytearray, samples: Sequence[bytes]) -> None:
    at = chance.randrange(len(data) + 1)
    end = min(len(data), at + chance.choice((1, 2, 4, 16, 64)))
    match chance.randrange(7):
        case 0 if data:
            data[at % len(data)] ^= 1 << chance.randrange(8)
        case 1:
            del data[at:end]
        case 2:
            data[at:at] = chance.choice(_LUMPS)
        case 3:
            data[at:end] = chance.randbytes(end - at)
        case 4:
            data[at:at] = data[at:end]
        case 5:
            other = chance.choice(samples)
            start = chance.randrange(len(other) + 1)
            data[at:at] = other[start : start + chance.choice((4, 32, 256))]
        case _:
            del data[at:]


def inputs(samples: Sequence[bytes], for_s: float = FUZZ_S) -> Iterator[bytes]:
    """Changed samples for so long."""
    chance, end_s = random.Random(SEED), time.monotonic() + for_s
    while time.monotonic() < end_s:
        yield changed(chance, samples)


def given(samples: Sequence[bytes], take: Callable[[bytes], None]) -> int:
    """
    Give changed samples to `take`, and return how many. An error that it raises is reported with its input, which
    BGPCTL_TEST_SEED makes come again.
    """
    count = 0
    for data in inputs(samples):
        count += 1
        try:
            take(data)
        except Exception as error:
            raise AssertionError(f"seed {SEED}, input {count}: {data!r}") from error
    return count
