#!/usr/bin/env python3
"""Ask the worker beside this process: `probe livez` or `probe readyz`. For health checks that run in the container.

Imports nothing of Headwater, so that asking every few seconds costs little. Never goes through a proxy.
"""

from __future__ import annotations

import os
import sys
from http.client import HTTPConnection, HTTPException


def main(path: str) -> int:
    address = os.environ.get("HEADWATER_PROBES")
    if not address:
        print("HEADWATER_PROBES is not set", file=sys.stderr)
        return 1
    connection = HTTPConnection(address, timeout=3)
    try:
        connection.request("GET", f"/{path}")
        response = connection.getresponse()
        print(response.status, response.read(4096).decode("utf-8", "replace").strip())
    except (OSError, HTTPException) as error:
        print(f"nobody answers at {address}: {error}", file=sys.stderr)
        return 1
    return 0 if response.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) == 2 else "livez"))
