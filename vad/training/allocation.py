"""Memory of large tensors on CPUs."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_large_blocks() -> bool:
    """Let this process keep the memory of large tensors for the next ones; whether it does so now.

    By default glibc maps a block of 32 MiB and more anew each time, and the kernel clears every page of it: up to a
    quarter of a step of pretraining on CPUs. Other C libraries are left as they are.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl has none
        return False
    return all(mallopt(option, 2**30) == 1 for option in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD))
