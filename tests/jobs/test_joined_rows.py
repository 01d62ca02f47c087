"""SFT joins the uneven samples of a batch into one row where the model keeps them apart: the same training, without padding."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenyson.config.load import parse_config
from tenyson.jobs.models.dims import Dims
from tenyson.jobs.sft import SFTJob
from tenyson.jobs.trainers.joining import arithmetic, decide

pytestmark = pytest.mark.train

TRAINING = {
    "max_steps": 6,
    "batch_size": 8,
    "learning_rate": 0.003,
    "save_steps": 3,
    "save_total_limit": None,
}
DIMS = Dims(2, 32, 32, 32, 128, 100, tied=True)


@pytest.fixture(scope="module")
def uneven():
    from tenyson.tasks.load import load_task

    return load_task(str(Path(__file__).parents[1] / "tasks" / "uneven_task.py"), {})


def told(events, run_id: str) -> list[str]:
    return [event["message"] for event in events(run_id, "Notice") if event["message"].startswith("rows: ")]


def test_joined_rows_train_the_same_and_the_log_says_so(configure, uneven, events, losses, tmp_path):
    """The same samples in each step: losses differ by rounding alone; a resume is exact; padding can be asked for."""
    SFTJob(configure("joined", training=TRAINING), uneven).run()
    [notice] = told(events, "joined")
    assert "the 8 samples of a batch share one row without padding" in notice
    SFTJob(configure("padded", training=TRAINING, trl={"padding_free": False}), uneven).run()
    assert told(events, "padded") == []
    assert len(losses("joined")) == 6
    assert losses("joined") == pytest.approx(losses("padded"), rel=1e-4)
    assert losses("joined")[0] > 2 * 1e-3
    checkpoint = tmp_path / "outputs/joined/checkpoints/step-3"
    again = {**TRAINING, "resume_from_checkpoint": str(checkpoint)}
    SFTJob(configure("resumed", training=again), uneven).run()
    assert losses("resumed") == losses("joined")[3:]


def test_samples_of_one_length_stay_padded(configure, echo, events):
    """There is no padding to save, so nothing differs from a bare TRL script."""
    SFTJob(configure("even", training={**TRAINING, "max_steps": 1}), echo).run()
    assert told(events, "even") == []


def test_a_model_that_reads_across_samples_trains_padded_and_the_log_says_why(tmp_path):
    """What counts is what the model computes, not what it is called."""
    from transformers import AutoModelForCausalLM

    from tenyson.testing.tiny import build

    build(tmp_path, 0)
    rows = token_rows([[2, 5, 3, 5, 1], *[[2, 6, 3, 6, 6, 1]] * 14, [2, 7, 3, *[7] * 90, 1]])
    config = parse_config({"model": {"name": str(tmp_path)}})
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert decide(config, arguments(), DIMS, rows, model).joined
    forward = model.forward

    def blind(position_ids=None, **inputs):
        return forward(**inputs)

    model.forward = blind
    refused = decide(config, arguments(), DIMS, rows, model)
    assert not refused.joined
    assert "this model's attention reads across samples of a row" in refused.reason
    model.forward = lambda input_ids: forward(input_ids=input_ids)
    assert "this model cannot read them (TypeError" in decide(config, arguments(), DIMS, rows, model).reason


def token_rows(rows):
    from tenyson.jobs.data.token_rows import TokenRows

    found = TokenRows()
    for ids in rows:
        found.append(ids, [1] * len(ids))
    return found


def arguments(**given):
    from trl import SFTConfig

    return SFTConfig(output_dir="unused", use_cpu=True, bf16=False, report_to="none", **given)


def test_the_arithmetic_counts_padding_and_attention_across_samples():
    """Joined rows save the padding; a kernel that masks samples computes their attention to each other all the same."""
    assert arithmetic([10] * 64, 8, DIMS) > 1
    assert arithmetic([10] * 64, 8, DIMS, flash=True) == 1
    uneven = [80 if index % 8 == 0 else 2 for index in range(64)]
    assert arithmetic(uneven, 8, DIMS, flash=True) < arithmetic(uneven, 8, DIMS) < 0.5


@pytest.mark.parametrize(
    "given",
    [
        {"packing": True},
        {"neftune_noise_alpha": 5.0},
        {"pad_to_multiple_of": 8},
        {"per_device_train_batch_size": 1},
    ],
)
def test_rows_are_not_joined_where_their_width_or_order_has_a_meaning(given):
    """Packing fills rows itself, noise goes by the width of a row, and one sample has nothing to join."""
    rows = token_rows([[1] * length for length in (80, 2, 2, 2, 2, 2, 2, 2)])
    config = parse_config({"model": {"name": "m"}})
    assert decide(config, arguments(**given), DIMS, rows, None).joined is False
