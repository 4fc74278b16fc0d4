"""The configurations in exabgp-conf/ are what ExaBGP is given."""

import subprocess
import sys
from pathlib import Path

import pytest

from bgpctl.cli.render_exabgp import rendered
from bgpctl.core.cluster.intent import Intent
from bgpctl.store import texts

ROOT = Path(__file__).parents[2]
TOPOLOGIES = {path.stem: texts.load([path]) for path in sorted((ROOT / "topologies").glob("*.yaml"))}
CASES = [
    (name, node.name, text)
    for name, intent in TOPOLOGIES.items()
    if isinstance(intent, Intent)
    for node in intent.nodes
    if (text := rendered(intent, node.name))
]


@pytest.mark.parametrize(("topology", "node", "text"), CASES, ids=[f"{name}-{node}" for name, node, _ in CASES])
def test_the_shipped_configuration_is_the_rendered_one(topology: str, node: str, text: str) -> None:
    shipped = ROOT / "exabgp-conf" / topology / f"{node}.conf"
    assert shipped.read_text() == text, (
        f"bgpctl render exabgp -f topologies/{topology}.yaml --to exabgp-conf/{topology}"
    )


def test_exabgp_accepts_the_shipped_files() -> None:
    exabgp = str(Path(sys.executable).with_name("exabgp"))
    file = ROOT / "exabgp-conf" / "cross-subnet" / "a1.conf"
    result = subprocess.run((exabgp, "validate", str(file)), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_nothing_else_is_shipped() -> None:
    shipped = {f"{path.parent.name}-{path.stem}" for path in (ROOT / "exabgp-conf").glob("*/*.conf")}
    assert shipped == {f"{name}-{node}" for name, node, _ in CASES}
