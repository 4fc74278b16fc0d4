"""`python -m tests.toy.agent`: bgpctl, with the toy beside its own encapsulations."""

from bgpctl.cli.main import main
from tests.toy.encapsulation import registered

if __name__ == "__main__":
    with registered():
        main()
