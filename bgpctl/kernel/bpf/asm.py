"""
A small assembler for BPF: instructions as methods, labels as names, constants as arguments.

Encoding: Documentation/bpf/standardization/instruction-set.rst of the kernel.

Refuses to know: the purpose of a program.
"""

from __future__ import annotations

import struct
from typing import Final

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, FP = range(11)

B, H, W, DW = 0x10, 0x08, 0x00, 0x18
"""Sizes of a load or store: 1, 2, 4 and 8 bytes."""

_INSTRUCTION: Final = struct.Struct("<BBhi")
_LDX, _ST, _STX, _ALU, _JMP, _ALU64 = 1, 2, 3, 4, 5, 7
_MEM, _IMM, _REG = 0x60, 0x00, 0x08
_LD_IMM64: Final = 0x18
_PSEUDO_MAP_FD, _PSEUDO_MAP_VALUE = 1, 2
_ATOMIC: Final = 0xC0
_ALU_OPS: Final = {
    "add": 0x00,
    "sub": 0x10,
    "or": 0x40,
    "and": 0x50,
    "lsh": 0x60,
    "rsh": 0x70,
    "xor": 0xA0,
    "mov": 0xB0,
}
_JUMPS: Final = {"ja": 0x00, "jeq": 0x10, "jgt": 0x20, "jset": 0x40, "jne": 0x50, "jsgt": 0x60}
_TO_BIG_ENDIAN: Final = 0xDC
_CALL: Final = 0x85
_EXIT: Final = 0x95


class Program:
    """Instructions in order. A jump names a label that may stand anywhere later."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int, int, str | None]] = []
        self._labels: dict[str, int] = {}

    def label(self, name: str) -> None:
        """The next instruction is called `name`."""
        self._labels[name] = len(self._code)

    def op(self, name: str, target: int, value: int) -> None:
        """`target = target op value`, 64 bit, with a constant."""
        self._add(_ALU64 | _IMM | _ALU_OPS[name], target, 0, 0, value)

    def op_reg(self, name: str, target: int, source: int) -> None:
        """`target = target op source`, 64 bit."""
        self._add(_ALU64 | _REG | _ALU_OPS[name], target, source, 0, 0)

    def load(self, size: int, target: int, base: int, offset: int) -> None:
        """`target = *(size *)(base + offset)`, zero-extended."""
        self._add(_LDX | _MEM | size, target, base, offset, 0)

    def store(self, size: int, base: int, offset: int, source: int) -> None:
        """`*(size *)(base + offset) = source`."""
        self._add(_STX | _MEM | size, base, source, offset, 0)

    def store_constant(self, size: int, base: int, offset: int, value: int) -> None:
        """`*(size *)(base + offset) = value`."""
        self._add(_ST | _MEM | size, base, 0, offset, value)

    def big_endian(self, target: int, bits: int) -> None:
        """Convert between host and network order."""
        self._add(_TO_BIG_ENDIAN, target, 0, 0, bits)

    def map_fd(self, target: int, fd: int) -> None:
        """`target = the map open as fd`."""
        self._add(_LD_IMM64, target, _PSEUDO_MAP_FD, 0, fd)
        self._add(0, 0, 0, 0, 0)

    def map_value(self, target: int, fd: int, offset: int) -> None:
        """`target = address of the only value of the map open as fd, plus offset`."""
        self._add(_LD_IMM64, target, _PSEUDO_MAP_VALUE, 0, fd)
        self._add(0, 0, 0, 0, offset)

    def atomic_add(self, base: int, offset: int, source: int) -> None:
        """`*(u64 *)(base + offset) += source`, whatever other processors do."""
        self._add(_STX | _ATOMIC | DW, base, source, offset, 0)

    def jump(self, name: str, target: int, value: int, label: str) -> None:
        """Go to `label` if `target name value` holds."""
        self._add(_JMP | _IMM | _JUMPS[name], target, 0, 0, value, label)

    def jump_reg(self, name: str, target: int, source: int, label: str) -> None:
        """Go to `label` if `target name source` holds."""
        self._add(_JMP | _REG | _JUMPS[name], target, source, 0, 0, label)

    def go(self, label: str) -> None:
        """Go to `label`."""
        self._add(_JMP | _JUMPS["ja"], 0, 0, 0, 0, label)

    def call(self, helper: int) -> None:
        """Call a kernel helper: arguments in R1 to R5, the result in R0, and R1 to R5 are lost."""
        self._add(_CALL, 0, 0, 0, helper)

    def exit(self) -> None:
        """Return R0."""
        self._add(_EXIT, 0, 0, 0, 0)

    def assemble(self) -> bytes:
        """The program as bpf(2) takes it. Raises KeyError for a label that was never set."""
        return b"".join(
            _INSTRUCTION.pack(
                code, source << 4 | target, self._labels[label] - index - 1 if label else offset, _signed(value)
            )
            for index, (code, target, source, offset, value, label) in enumerate(self._code)
        )

    def _add(self, code: int, target: int, source: int, offset: int, value: int, label: str | None = None) -> None:
        self._code.append((code, target, source, offset, value, label))


def _signed(value: int) -> int:
    """A 32-bit constant as the signed number that the instruction holds."""
    return value - (1 << 32) if value >= 1 << 31 else value
