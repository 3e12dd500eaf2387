"""A worker process: the connector's command line as it is, and two things for the driver.

SIGUSR2 writes the stacks of all threads and tasks to stderr; and the process dies with the driver, so that nothing is left behind.
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import gc
import signal
import sys
from types import FrameType

from connector.__main__ import main

_PR_SET_PDEATHSIG = 1


def _tell(_number: int, _frame: FrameType | None) -> None:
    faulthandler.dump_traceback(sys.__stderr__ or 2, all_threads=True)
    for task in [found for found in gc.get_objects() if isinstance(found, asyncio.Task)]:
        if not task.done():
            task.print_stack(file=sys.stderr)
    sys.stderr.flush()


if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    signal.signal(signal.SIGUSR2, _tell)
    main()
