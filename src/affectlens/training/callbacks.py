"""Lightning callbacks: curves.csv, log.txt, progress, atomic checkpoints, early stopping."""

import csv
import io
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, EarlyStopping

from affectlens.core.csv_file import csv_rows
from affectlens.core.errors import AffectLensError
from affectlens.core.files import atomic_write
from affectlens.core.progress import Advance, Progress, advance_nothing
from affectlens.training.run import note


class Curves(Callback):
    """One line per epoch in a CSV file; a resumed run goes on in the file of its first part."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Append this epoch's metrics, in place of any that an interrupted attempt left."""
        del pl_module
        if not trainer.is_global_zero:
            return
        metrics = {name: f"{float(value):.6f}" for name, value in trainer.callback_metrics.items()}
        now = {"epoch": str(trainer.current_epoch)} | metrics
        earlier: list[dict[str, str]] = []
        if self.file.is_file():
            rows = (row for _, row in csv_rows(self.file, ("epoch",)))
            earlier = [row for row in rows if int(row["epoch"]) < trainer.current_epoch]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(now), lineterminator="\n")
        writer.writeheader()
        writer.writerows([*earlier, now])
        atomic_write(self.file, text.getvalue())


class Log(Callback):
    """A line per start, per epoch and per failure in log.txt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.began = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the first epoch and the device."""
        of = f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"
        self._note(trainer, f"training from {of} on {trainer.world_size} x {pl_module.device}, {trainer.precision}")

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        del trainer, pl_module
        self.began = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the time with validation, the learning rate and the metrics."""
        del pl_module
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        seconds = time.monotonic() - self.began
        self._note(
            trainer, f"epoch {trainer.current_epoch + 1}: {seconds:.1f} s, rate {rate:.2e}, {_metrics_line(trainer)}"
        )

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Log the error that ended the run."""
        del pl_module
        said = ": ".join(filter(None, (type(exception).__name__, str(exception))))
        self._note(trainer, f"stopped in epoch {trainer.current_epoch + 1}: {said}")

    def _note(self, trainer: L.Trainer, text: str) -> None:
        if trainer.is_global_zero:
            note(self.folder, " ".join(text.split()))


class EpochProgress(Callback):
    """Each epoch is a task of its batches; a message with its metrics when it is done."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.task = ExitStack()
        self.advance: Advance = advance_nothing

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin the task of this epoch."""
        del pl_module
        if trainer.is_global_zero:
            task = self.progress.task(self._epoch(trainer), int(trainer.num_training_batches))
            self.advance = self.task.enter_context(task)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Advance by one batch."""
        del pl_module, outputs, batch, batch_idx
        if trainer.is_global_zero:
            self.advance()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """End the task and report the metrics of the epoch."""
        del pl_module
        self.task.close()
        if trainer.is_global_zero:
            self.progress.message(f"{self._epoch(trainer)}: {_metrics_line(trainer)}")

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """End the task."""
        del trainer, pl_module, exception
        self.task.close()

    def _epoch(self, trainer: L.Trainer) -> str:
        return f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"


class OutOfTime(AffectLensError):
    """Training was ended before an epoch that would not have ended in time."""


class Deadline(Callback):
    """Ends training before an epoch that would end later than `deadline`, in seconds since the epoch, if it took as
    long as the one before.
    """

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.began: float | None = None

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Raises OutOfTime; the checkpoint of the epoch before is written."""
        del pl_module
        now = time.time()
        last_s = 0.0 if self.began is None else now - self.began
        if now + last_s > self.deadline:
            raise OutOfTime(f"no time left for epoch {trainer.current_epoch + 1} of {trainer.max_epochs}")
        self.began = now


class AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints appear when they are complete, beside the one that they take the place of."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Serialise in memory, where a full disk is no matter, then write."""
        del storage_options
        stream = io.BytesIO()
        torch.save(checkpoint, stream)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        atomic_write(Path(path), stream.getvalue())


class ResumableEarlyStopping(EarlyStopping):
    """Early stopping that a resumed run does not forget."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """End at once where the earlier part of the run ended for want of progress."""
        del pl_module
        if self.wait_count >= self.patience:
            trainer.should_stop = True


def _metrics_line(trainer: L.Trainer) -> str:
    """This epoch's metrics in one line."""
    return ", ".join(f"{name} {float(value):.4f}" for name, value in sorted(trainer.callback_metrics.items()))
