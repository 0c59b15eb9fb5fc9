"""Which videos are there, and what in them is abnormal? Every class is imported here, so that bare names work."""

from vad.benchmarks.benchmark import Benchmark, Grid, data_root
from vad.benchmarks.ucsd_ped import UCSDPed1, UCSDPed2

__all__ = ["Benchmark", "Grid", "UCSDPed1", "UCSDPed2", "data_root"]
