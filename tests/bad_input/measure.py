"""`python measure.py FILE COMMAND...`: run a command, and write the most memory that it held, in KiB, into a file.

A process of its own and small: what a process held counts from what its parent held when it began.
"""

import os
import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    process = subprocess.Popen(sys.argv[2:])
    _, status, usage = os.wait4(process.pid, 0)
    Path(sys.argv[1]).write_text(str(usage.ru_maxrss))
    os._exit(os.waitstatus_to_exitcode(status))
