"""What every training shares: checkpoints, logging, throughput, randomness."""
