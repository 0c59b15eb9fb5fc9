"""Memory of large tensors is kept for the next ones."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import torch
from vad.training.allocation import keep_large_blocks

torch.set_num_threads(1)
if len(sys.argv) > 1:
    assert keep_large_blocks()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(16 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


def pages(*words: str) -> int:
    done = subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has this setting")
def test_large_tensors_take_hardly_a_new_page() -> None:
    assert pages("keep") * 10 < pages()
