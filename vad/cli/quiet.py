"""What the libraries say that nobody who reads it can act on."""

import logging
import warnings

ADVERTISEMENTS = (
    "💡 Tip",
    "`weights_only` was not set",
    "GPU available",
    "TPU available",
    "HPU available",
    "\nDetected KeyboardInterrupt",  # the command says it itself
)

# Regular expressions, each with the reason why nothing is wrong.
WARNINGS = (
    r".*isinstance\(treespec, LeafSpec\)",  # inside Lightning
    r".*Total length of `list` across ranks is zero",  # no validation part is asked for
    r".*You have overridden `transfer_batch_to_device` in `LightningModule`",  # meant so: batches know how to move
    r".*does not have many workers",  # batches are one gather each
    r".*smaller than the logging interval",  # metrics are logged at the ends of epochs
    r".*is not supported by the model summary",  # of a table of sizes
    r".*Checkpoint directory .* exists and is not empty",  # a continued run
)


SPEAKERS = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
    "lightning.pytorch.trainer.connectors.checkpoint_connector",
)


class _Filter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(ADVERTISEMENTS)


def quiet() -> None:
    """Silence them, once; everything else is heard."""
    for name in SPEAKERS:
        logger = logging.getLogger(name)
        if not any(isinstance(known, _Filter) for known in logger.filters):
            logger.addFilter(_Filter())
    for pattern in WARNINGS:
        warnings.filterwarnings("ignore", message=pattern)
