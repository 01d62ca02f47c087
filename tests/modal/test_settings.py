"""tenyson-modal before anything is launched: its settings, its prices, its cost at import time."""

import os
import subprocess
import sys

import pytest

from tenyson.cloud.modal import ModalManager
from tenyson.errors import ConfigError
from tenyson_modal import price
from tenyson_modal.settings import ModalSettings


def test_the_specifications_arguments_are_taken():
    """GPU, time limit and names of secrets."""
    manager = ModalManager(gpu="H100:8", timeout=43200, secrets=["huggingface"])
    assert manager.backend.settings["gpu"] == "H100:8"


def test_all_wrong_settings_are_named_at_once_with_the_nearest_name():
    """An unknown key and a wrong value, in one error."""
    with pytest.raises(ConfigError) as caught:
        ModalManager(timeouts=5, cpu=-1)
    text = str(caught.value)
    assert "backend.settings.timeouts: unknown key (did you mean backend.settings.timeout?)" in text
    assert "backend.settings.cpu" in text


def test_a_list_of_gpus_is_a_choice_and_its_fallbacks():
    """In its order."""
    assert ModalSettings(gpu=["H100", "A100-80GB"]).gpus == ["H100", "A100-80GB"]
    assert ModalSettings(gpu=None).gpus == []


@pytest.mark.parametrize(
    ("settings", "hour", "worst"),
    [
        ({"gpu": "H100", "cpu": 4, "memory": 32768}, 3.9492 + 4 * 0.0473 + 32 * 0.008, 24),
        ({"gpu": ["T4", "H100:2"], "cpu": 1, "memory": 1024, "max_hours": 2}, 2 * 3.9492 + 0.0473 + 0.008, 2),
        ({"gpu": None, "cpu": 1, "memory": 1024}, 0.0473 + 0.008, 24),
        ({"gpu": "L4", "cpu": 1, "memory": 1024, "region": "eu"}, 2.5 * (0.7992 + 0.0473 + 0.008), 24),
        ({"gpu": "NEW", "price_per_hour": 9.0, "cpu": 1, "memory": 1024}, 9.0 + 0.0473 + 0.008, 24),
    ],
)
def test_the_price_is_of_the_dearest_choice_with_cores_and_memory(settings, hour, worst):
    """US dollars, with the day of the price list."""
    told = price.estimate(ModalSettings(**settings))
    assert told.per_hour == pytest.approx(hour, abs=1e-4)
    assert told.worst_case == pytest.approx(hour * worst, abs=0.01)
    assert "modal.com/pricing on 20" in told.note or "price_per_hour" in told.note


def test_a_gpu_without_a_known_price_has_no_worst_case():
    """A price that is not looked up would be a guess."""
    told = price.estimate(ModalSettings(gpu="NEW"))
    assert told.worst_case is None
    assert "nobody here knows the price of NEW (price_per_hour)" in told.note


def test_a_job_longer_than_a_container_may_work_needs_more_of_them():
    """Rounded up."""
    assert ModalSettings(max_hours=23.9).containers == 1
    assert ModalSettings().containers == 2
    assert ModalSettings(timeout=3600, max_hours=8.25).containers == 9


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        ({"timeout": 3600}, {"max_hours": 8.25}),
        ({"timeout": 3600}, {"timeout": 9900}),
        ({"max_hours": 240}, {"max_hours": 215.25}),
        ({"restarts": 10}, {"restarts": 9}),
        ({"timeout": 60, "max_hours": 0.2}, {"timeout": 107}),
    ],
)
def test_a_chain_of_more_containers_than_modal_starts_is_refused_with_what_fits(asked, fits):
    """It would end half way: Modal retries a call ten times at most."""
    key, value = next(iter(fits.items()))
    ModalManager(**asked | fits)
    with pytest.raises(ConfigError, match=r"containers after one another with timeout: \d+; Modal") as caught:
        ModalManager(**asked)
    words = {
        "max_hours": f"max_hours up to {value}",
        "timeout": f"a timeout of {value}",
        "restarts": f"restarts up to {value}",
    }
    assert words[key] in str(caught.value)
    step = {"max_hours": 0.01, "timeout": -1, "restarts": 1}[key]
    with pytest.raises(ConfigError):
        ModalManager(**asked | {key: value + step})


def test_a_dry_run_tells_the_worst_case_of_all_attempts_within_the_budget(tmp_path):
    """A pipeline tries a step again up to 20 times where machines are rented."""

    def told(*more):
        command = [
            sys.executable,
            "-m",
            "tenyson",
            "run",
            "--task",
            "wordle",
            "--backend",
            "modal",
            "--dry-run",
        ]
        done = subprocess.run(
            [*command, *more], capture_output=True, text=True, check=True, cwd=tmp_path, env=os.environ | {"COLUMNS": "400"}
        )  # fmt: skip
        return done.stdout

    assert "in 21 attempts" in told()
    assert "at most $500.00 in up to 21 attempts (budget_usd)" in told(
        "--set", "backend.settings.budget_usd=500"
    )


def test_the_plugin_imports_neither_modal_nor_pydantic():
    """Listing plugins and commands must stay cheap."""
    code = "import tenyson_modal.plugin, tenyson_modal.commands, sys; assert not {'modal', 'pydantic'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
