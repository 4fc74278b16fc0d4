"""
From what we know to what should be: (intent, selected paths, kernel facts) -> Desired, whole, every time.

One file per encapsulation, behind `protocol.py` and the table in `encapsulations.py`: no other file knows a difference
between them.

Refuses to know: what is in the kernel of ours already.
"""

from bgpctl.core.fabric.crossing import encapsulation_to, same_subnet
from bgpctl.core.fabric.derive import derive
from bgpctl.core.fabric.desired import Desired

__all__ = ["Desired", "derive", "encapsulation_to", "same_subnet"]
