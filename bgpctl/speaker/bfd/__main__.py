"""
Starts the BFD process: `python3 -I -S bgpctl/speaker/bfd/__main__.py DIRECTORY SOCKET`, where DIRECTORY is the one that
has the package bgpctl.

Refuses to know: BFD.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    sys.path.append(sys.argv.pop(1))
    from bgpctl.speaker.bfd.daemon import main

    main()
