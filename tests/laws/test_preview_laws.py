"""A preview ends where there is nothing left to do."""

from __future__ import annotations

from hypothesis import given

from bgpctl.core.cluster.intent import Intent
from bgpctl.core.dataplane.effects import after_all
from bgpctl.core.simulate.preview import assumed_kernel, converged, preview
from tests.laws.intents import intents


@given(intents(), intents())
def test_after_all_its_steps_there_is_nothing_to_foresee(before: Intent, wanted: Intent) -> None:
    for node in wanted.nodes:
        was = before.node(node.name) or node
        kernel = converged(before, was, assumed_kernel(was))
        foreseen = preview(wanted, node, kernel)
        now = after_all(kernel, (op for step in foreseen.steps for op, _ in step.ops))
        assert preview(wanted, node, now).steps == ()
