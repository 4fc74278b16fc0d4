"""Instructions as the kernel's instruction-set.rst spells them: opcode, registers, offset, constant."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from bgpctl.core.net.addresses import Address
from bgpctl.kernel.bpf import programs
from bgpctl.kernel.bpf.asm import DW, FP, R0, R1, R2, R3, B, H, Program, W


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda p: p.op("mov", R1, 7), "b7 01 0000 07000000"),
        (lambda p: p.op("add", R2, -8), "07 02 0000 f8ffffff"),
        (lambda p: p.op("mov", R1, 0xC0A80001), "b7 01 0000 0100a8c0"),
        (lambda p: p.op_reg("mov", R3, FP), "bf a3 0000 00000000"),
        (lambda p: p.op_reg("add", R0, R1), "0f 10 0000 00000000"),
        (lambda p: p.load(W, R0, R1, 16), "61 10 1000 00000000"),
        (lambda p: p.load(B, R1, FP, -24), "71 a1 e8ff 00000000"),
        (lambda p: p.load(H, R1, FP, -22), "69 a1 eaff 00000000"),
        (lambda p: p.store(H, FP, -38, R0), "6b 0a daff 00000000"),
        (lambda p: p.store_constant(DW, FP, -112, 0), "7a 0a 90ff 00000000"),
        (lambda p: p.big_endian(R1, 16), "dc 01 0000 10000000"),
        (lambda p: p.map_fd(R1, 9), "18 11 0000 09000000 00 00 0000 00000000"),
        (lambda p: p.map_value(R1, 9, 16), "18 21 0000 09000000 00 00 0000 10000000"),
        (lambda p: p.atomic_add(R1, 8, R2), "db 21 0800 00000000"),
        (lambda p: p.call(152), "85 00 0000 98000000"),
        (lambda p: p.exit(), "95 00 0000 00000000"),
    ],
)
def test_an_instruction_is_encoded_as_the_kernel_documents_it(write: Callable[[Program], None], expected: str) -> None:
    program = Program()
    write(program)
    assert program.assemble() == bytes.fromhex(expected)


def test_a_jump_counts_instructions_from_the_one_behind_it() -> None:
    program = Program()
    program.jump("jne", R0, 0, "end")
    program.jump_reg("jeq", R1, R2, "end")
    program.go("end")
    program.map_fd(R1, 3)  # counts as two
    program.label("end")
    program.exit()
    offsets = [program.assemble()[at + 2] for at in (0, 8, 16)]
    assert offsets == [4, 3, 2]


def test_a_label_that_was_never_set_is_an_error() -> None:
    program = Program()
    program.go("nowhere")
    with pytest.raises(KeyError, match="nowhere"):
        program.assemble()


def test_dependencies_of_a_bpf_program_are_in_its_code() -> None:
    """The driver compares digests of code to find programs that were made for other circumstances."""
    one, other = Address.parse("10.0.0.1"), Address.parse("10.0.0.2")
    macs = (b"\2\0\0\0\0\4", b"\2\0\0\0\0\5")
    variants = {
        *(programs.encapsulate(*args, 0) for args in product((one, other), (4, 5), macs)),
        *(programs.decapsulate(index, mac, 0, 0) for index in (4, 5) for mac in macs),
    }
    assert len(variants) == 8 + 4
