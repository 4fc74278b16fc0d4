"""
From the known facts to the desired state: (intent, selected paths, kernel facts) -> Desired, whole, every time.

One file per encapsulation, behind `protocol.py` and the table in `encapsulations.py`: no other file knows a difference
between them.

Refuses to know: the objects of ours in the kernel.
"""

from bgpctl.core.cluster.crossing import encapsulation_to, same_subnet
from bgpctl.core.fabric.derive import derive
from bgpctl.core.fabric.desired import Desired

__all__ = ["Desired", "derive", "encapsulation_to", "same_subnet"]
