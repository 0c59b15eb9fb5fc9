"""Which videos are there, and what in them is abnormal? Every class is imported here, so that bare names work."""

from vad.benchmarks.benchmark import Benchmark, data_root

__all__ = ["Benchmark", "data_root"]
