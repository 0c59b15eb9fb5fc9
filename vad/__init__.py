"""`vad`: an experiment suite for video anomaly detection."""

__version__ = "0.1.0"
