"""`python -m bgpctl`: the same as the `bgpctl` command."""

from bgpctl.cli.main import main

if __name__ == "__main__":
    main()
