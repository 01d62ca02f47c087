"""The specification's trainer callbacks, under transformers' real Trainer on a model of one weight."""

import subprocess
import sys
import textwrap

import pytest

from tenyson.telemetry.control import MANUAL_STOP, StopSignal
from tenyson.telemetry.dispatch import Telemetry
from tenyson.telemetry.events import EpochEnded, MetricsLogged
from tenyson.telemetry.sinks.sink import BaseSink

pytestmark = pytest.mark.train


class Kept(BaseSink):
    """A sink that keeps what it is given, in the thread that sends it."""

    name = "kept"
    inline = True

    def __init__(self):
        self.events = []

    def write(self, event):
        self.events.append(event)

    def close(self):
        pass

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def train(tmp_path):
    """Trains for real: 5 steps an epoch, 2 epochs. Returns the trainer."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")

    class Line(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x, labels):
            return {"loss": ((self.weight * x - labels) ** 2).mean()}

    def train(*callbacks, kl=None, **arguments):
        class Trainer(transformers.Trainer):
            def log(self, logs, start_time=None):
                # As GRPOTrainer does: the mean since the row before.
                super().log(logs | ({} if kl is None else {"kl": kl(self.state.global_step)}), start_time)

        options = {"logging_steps": 1, "num_train_epochs": 2, "save_strategy": "no", "learning_rate": 0.1}
        trainer = Trainer(
            model=Line(),
            args=transformers.TrainingArguments(
                output_dir=str(tmp_path), report_to="none", use_cpu=True, disable_tqdm=True,
                per_device_train_batch_size=2, seed=0, **options | arguments,
            ),
            train_dataset=[{"x": torch.tensor([float(i)]), "labels": torch.tensor([2.0 * i])} for i in range(10)],
            callbacks=list(callbacks),
        )  # fmt: skip
        trainer.train()
        return trainer

    return train


def test_sft_telemetry_callback_emits_each_logged_row(train):
    """Specification, telemetry: `SFTTelemetryCallback`; step, epoch, all numbers and the trainer's own total."""
    from tenyson.jobs.trainers.callbacks import SFTTelemetryCallback

    kept = Kept()
    trainer = train(SFTTelemetryCallback(Telemetry([kept]), "run-1"))
    rows = kept.of(MetricsLogged)
    logged = [row for row in trainer.state.log_history if "loss" in row]
    assert [row.step for row in rows if "loss" in row.values] == list(range(1, 11))
    assert [row.values["loss"] for row in rows if "loss" in row.values] == [row["loss"] for row in logged]
    first = rows[0]
    assert (first.run_id, first.phase, first.total_steps, first.epoch) == ("run-1", "sft", 10, 0.2)
    assert {"learning_rate", "grad_norm"} <= set(first.values)
    assert "epoch" not in first.values
    assert kept.of(EpochEnded) == []


@pytest.mark.parametrize("logging_steps", [1, 2, 3, 100])
def test_grpo_epoch_telemetry_callback_emits_means_over_the_epochs_steps(train, logging_steps):
    """Specification, telemetry: loss and KL of each epoch, exact whatever the distance between two rows."""
    from tenyson.jobs.trainers.callbacks import GRPOEpochTelemetryCallback

    every_step = [row["loss"] for row in train().state.log_history if "loss" in row]
    kept = Kept()
    train(
        GRPOEpochTelemetryCallback(Telemetry([kept]), "run-1"),
        kl=lambda step: 0.5,
        logging_steps=logging_steps,
    )
    first, second = kept.of(EpochEnded)
    assert (first.epoch, first.step, second.epoch, second.step) == (1, 5, 2, 10)
    assert first.loss == pytest.approx(sum(every_step[:5]) / 5, rel=1e-3)
    assert second.loss == pytest.approx(sum(every_step[5:]) / 5, rel=1e-3)
    assert (first.kl, second.kl) == (0.5, 0.5)
    assert {row.phase for row in kept.of(MetricsLogged)} == {"rl"}


def test_kl_is_none_where_it_is_not_measured(train):
    """GRPO with beta = 0 logs no KL."""
    from tenyson.jobs.trainers.callbacks import GRPOEpochTelemetryCallback

    kept = Kept()
    train(GRPOEpochTelemetryCallback(Telemetry([kept]), "run-1"))
    assert [ended.kl for ended in kept.of(EpochEnded)] == [None, None]


def test_manual_stop_ends_training_after_the_current_step_and_saves(train, tmp_path):
    """Specification, telemetry: `ManualStopTelemetryCallback` stops cleanly and a checkpoint is there."""
    import transformers

    from tenyson.jobs.trainers.callbacks import ManualStopTelemetryCallback

    stop = StopSignal()

    class InTheMiddleOfStepThree(transformers.TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 2:
                stop.set(MANUAL_STOP)

    trainer = train(InTheMiddleOfStepThree(), ManualStopTelemetryCallback(stop))
    assert trainer.state.global_step == 3
    assert (tmp_path / "checkpoint-3" / "trainer_state.json").exists()


def test_a_checkpoint_is_written_when_its_time_has_come(train, tmp_path):
    """Every step takes longer than the interval here, so that each one is followed by a checkpoint."""
    from tenyson.jobs.trainers.callbacks import ManualStopTelemetryCallback

    trainer = train(ManualStopTelemetryCallback(StopSignal(), save_minutes=1e-9))
    assert trainer.state.global_step == 10
    assert len(list(tmp_path.glob("checkpoint-*"))) == 10


def test_nothing_stops_without_a_request(train, tmp_path):
    """The callback alone changes nothing."""
    from tenyson.jobs.trainers.callbacks import ManualStopTelemetryCallback

    assert train(ManualStopTelemetryCallback(StopSignal())).state.global_step == 10
    assert not list(tmp_path.glob("checkpoint-*"))


def test_all_processes_agree_to_stop(tmp_path):
    """One rank saw the request; both leave the loop at the same step."""
    pytest.importorskip("torch")
    code = textwrap.dedent(
        """
        import os, sys, torch
        from transformers import TrainerControl, TrainerState, TrainingArguments
        from tenyson.jobs.trainers.callbacks import ManualStopTelemetryCallback
        from tenyson.telemetry.control import StopSignal
        store = sys.argv[1]
        rank = 0 if (child := os.fork()) else 1
        torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
        stop = StopSignal()
        callback = ManualStopTelemetryCallback(stop)
        seen = []
        for step in range(4):
            if rank == 0 and step == 2:
                stop.set("manual stop")
            seen.append(callback.on_step_end(None, TrainerState(), TrainerControl()).should_training_stop)
        open(f"{store}.{rank}", "w").write(str(seen))
        torch.distributed.destroy_process_group()
        if child:
            os.waitpid(child, 0)
        """
    )
    # Both ranks are one process that has imported torch, and its fork; each has a file of its own to tell what it saw.
    subprocess.run([sys.executable, "-c", code, tmp_path / "store"], timeout=120, check=True)
    assert [(tmp_path / f"store.{rank}").read_text() for rank in range(2)] == [
        "[False, False, True, True]"
    ] * 2
