"""What benchmarks time by: seconds of the processor, which other work on the machine changes least."""

import time
from collections.abc import Callable


def cpu_seconds(function: Callable[[], object]) -> float:
    """Call a function once, and return the seconds of all cores that this process has spent on it."""
    start = time.process_time()
    function()
    return time.process_time() - start
