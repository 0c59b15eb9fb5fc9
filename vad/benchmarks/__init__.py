"""Which videos are there, and what in them is abnormal? Every class is imported here, so that bare names work."""

from vad.benchmarks.avenue import Avenue
from vad.benchmarks.benchmark import Benchmark, Grid, data_root
from vad.benchmarks.composed import Composed
from vad.benchmarks.footage import Footage
from vad.benchmarks.shanghaitech import ShanghaiTech, ShanghaiTechWeak
from vad.benchmarks.synthetic import Synthetic
from vad.benchmarks.ucf_crime import UCFCrime
from vad.benchmarks.ucsd_ped import UCSDPed1, UCSDPed2
from vad.benchmarks.xd_violence import XDViolence

__all__ = [
    "Avenue",
    "Benchmark",
    "Composed",
    "Footage",
    "Grid",
    "ShanghaiTech",
    "ShanghaiTechWeak",
    "Synthetic",
    "UCFCrime",
    "UCSDPed1",
    "UCSDPed2",
    "XDViolence",
    "data_root",
]
