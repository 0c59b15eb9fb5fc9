"""How long `vad --help` takes beside an empty Python (target: at most 0.5 s more, torch not imported).

Command: python experiments/speed/startup.py
"""

import statistics
import subprocess
import sys
import time

REPEATS = 7


def seconds(*arguments: str) -> float:
    """Wall time of one Python process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Interleave both commands and print their medians."""
    cases = {"python -c pass": ("-c", "pass"), "vad --help": ("-m", "vad.cli.main", "--help")}
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(REPEATS):
        for name, arguments in cases.items():
            times[name].append(seconds(*arguments))
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, found in times.items():
        print(f"{name:<15} {1000 * medians[name]:6.0f} ms (from {1000 * min(found):.0f} to {1000 * max(found):.0f})")
    print(f"P19 vad --help costs {medians['vad --help'] - medians['python -c pass']:.3f} s more (target <= 0.5)")


if __name__ == "__main__":
    main()
