"""A task with presets for tests: the echo task on a model that is built on the spot."""

import importlib.util
from pathlib import Path

from tenyson.tasks import Preset, PresetStep

spec = importlib.util.spec_from_file_location(
    "echo_for_presets", Path(__file__).parents[1] / "tasks" / "echo_task.py"
)
echo = importlib.util.module_from_spec(spec)
spec.loader.exec_module(echo)

SHARED = {
    "model": {"factory": "tenyson.testing.tiny:build"},
    "generation": {"max_new_tokens": 4, "engine": "transformers"},
    "training": {"max_steps": 4, "save_steps": 2},
    "evaluation": {"samples": 8},
}
BREAKING = {**SHARED, "task": {"args": {"break_at": 0}}}


class PresetTask(echo.EchoTask):
    """Says a letter three times."""

    name = "preset-task"

    @classmethod
    def presets(cls):
        def preset(name, *steps):
            return name, Preset(name, f"the {name} one", tuple(PresetStep(*step) for step in steps))

        return dict(
            [
                preset("small", ("sft", "sft", SHARED), ("after", "eval", SHARED, "sft")),
                preset("broken", ("sft", "sft", BREAKING), ("after", "eval", SHARED, "sft")),
                preset("wrong", ("sft", "sft", {**SHARED, "training": {"learning_rat": 1}})),
            ]
        )
