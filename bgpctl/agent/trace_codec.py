"""
A node's answer about its kernel as a JSON tree and back (core/trace/answers.py), and its configuration.

The tree comes from another node, so nothing of it is believed: it becomes only what the annotations allow, and a value
that would have a lookup fail, or go on without end, is refused.

Refuses to know: who asks, what follows from the answer.
"""

from __future__ import annotations

from bgpctl.agent.codec import Codec, Tree, Undecodable
from bgpctl.core.cluster.intent import Intent
from bgpctl.core.fabric.encapsulations import BEHAVIOURS  # the kinds of links that an answer may have
from bgpctl.core.net.objects import RuleAction
from bgpctl.core.trace.answers import NodeAnswer

__all__ = ["BEHAVIOURS", "Undecodable", "decode", "decode_intent", "encode", "encode_intent"]


def encode(answer: NodeAnswer) -> Tree:
    """The tree of an answer."""
    return Codec[NodeAnswer](NodeAnswer).encode(answer)


def decode(tree: Tree) -> NodeAnswer:
    """The answer of a tree. Raises Undecodable."""
    found = Codec[NodeAnswer](NodeAnswer).decode(tree)
    for name, value in found.snapshot.sysctls.items():
        if not (value.isascii() and value.removeprefix("-").isdigit()):
            raise Undecodable("number expected", f"NodeAnswer.snapshot.sysctls.{name}")
    for rule in found.snapshot.dataplane.rules:
        if rule.action is RuleAction.GOTO and rule.goto <= rule.priority:
            raise Undecodable("a goto leads on", "NodeAnswer.snapshot.dataplane.rules")
    return found


def encode_intent(intent: Intent) -> Tree:
    """The tree of a configuration, with its places in the files."""
    return Codec[Intent](Intent).encode(intent)


def decode_intent(tree: Tree) -> Intent:
    """The configuration of a tree. Raises Undecodable."""
    return Codec[Intent](Intent).decode(tree)
