"""Writes the inputs of every case into pcaps/: `/usr/bin/python3 tests/cases [CASE...]` (Debian package python3-scapy).

The frames are built by scapy and by hand, so that neither warren nor its tests have a say in what they are.
"""

import importlib
import sys

from box import Case

# Importing a file adds its cases.
for name in ("addresses", "edges4", "edges6", "errors", "forward4", "forward6", "found4", "found6", "fragment6", "host", "host6", "multipath", "options4", "options6", "own6", "routes", "segments6", "told"):
    importlib.import_module(name)

if __name__ == "__main__":
    wanted = sys.argv[1:]
    for case in Case.every:
        if not wanted or case.name in wanted:
            case.write()
