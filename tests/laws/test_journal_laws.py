"""A journal in a file is the journal: every value comes back as it was, and so do the commands that it leads to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from bgpctl.agent import journal_file
from bgpctl.agent.codec import Codec
from bgpctl.agent.journal_file import FOLLOWING
from bgpctl.agent.replay import first_difference
from bgpctl.core.agent.events import Command, Event
from bgpctl.core.agent.memo import Memo
from bgpctl.core.agent.state import State
from bgpctl.core.bgp.import_policy import Policy
from bgpctl.core.bgp.possible_sources import PossibleSources
from bgpctl.core.cluster.encapsulation import ENCAPSULATIONS, Encapsulation
from bgpctl.core.fabric.ipip import Ipip
from bgpctl.core.fabric.protocol import ProbeFrame
from bgpctl.core.fabric.vxlan import Vxlan, VxlanFrame
from bgpctl.core.net.addresses import Address, InterfaceAddress, Prefix
from bgpctl.core.net.objects import LinkKind, Plain
from bgpctl.core.net.table import Table
from tests.journals import lived
from tests.laws.events import events
from tests.stories.mesh import converged

addresses = st.one_of(
    st.builds(Address, st.just(4), st.integers(0, 2**32 - 1)),
    st.builds(Address, st.just(6), st.integers(0, 2**128 - 1)),
)
interfaces = addresses.flatmap(
    lambda own: st.builds(InterfaceAddress, st.just(own), st.integers(0, 32 if own.version == 4 else 128))
)
prefixes: st.SearchStrategy[Prefix] = interfaces.map(lambda own: own.network)

# Whatever the annotations allow, of values that can be: no prefix has host bits, no time is not a number.
st.register_type_strategy(Address, addresses)
st.register_type_strategy(InterfaceAddress, interfaces)
st.register_type_strategy(Prefix, prefixes)
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
# Of a class that others derive from there are values of these alone.
st.register_type_strategy(Encapsulation, st.sampled_from([*ENCAPSULATIONS.values()]))
st.register_type_strategy(LinkKind, st.one_of(st.from_type(Ipip), st.from_type(Vxlan), st.from_type(Plain)))
st.register_type_strategy(ProbeFrame, st.one_of(st.just(ProbeFrame()), st.from_type(VxlanFrame)))
st.register_type_strategy(PossibleSources, st.none())
st.register_type_strategy(Policy, st.none())
st.register_type_strategy(Memo, st.just(Memo()))
st.register_type_strategy(
    Table, lambda table: st.dictionaries(prefixes, st.from_type(get_args(table)[0])).map(Table.of)
)
# Operations are a tuple, or what is equal to one.
st.register_type_strategy(Sequence, lambda some: st.lists(st.from_type(get_args(some)[0])).map(tuple))

EVENT: Codec[Event] = Codec(Event)
COMMAND: Codec[Command] = Codec(Command)
STATE: Codec[State] = Codec(State, derived=FOLLOWING)


@given(st.from_type(Event))  # type: ignore[arg-type]
def test_every_event_that_there_can_be_comes_back_as_it_was(event: Event) -> None:
    assert EVENT.decode(json.loads(json.dumps(EVENT.encode(event)))) == event


@given(st.from_type(Command))  # type: ignore[arg-type]
def test_every_command_that_there_can_be_comes_back_as_it_was(command: Command) -> None:
    assert COMMAND.decode(json.loads(json.dumps(COMMAND.encode(command)))) == command


@given(st.from_type(State))
def test_every_state_that_there_can_be_comes_back_as_it_was(state: State) -> None:
    assert STATE.decode(json.loads(json.dumps(STATE.encode(state)))) == state


@given(st.lists(events, max_size=30), st.booleans())
def test_a_story_comes_back_from_a_file_and_leads_to_the_same_commands(story: list[Event], late: bool) -> None:
    record = lived(*story, start=converged().state if late else None).record()
    with TemporaryDirectory() as directory:
        path = Path(directory) / "journal.jsonl"
        path.write_bytes(journal_file.dump(record, "1.2", "2026-11-23T10:00:00+00:00"))
        _, found = journal_file.load(path)
    assert found == record
    assert first_difference(found) is None
