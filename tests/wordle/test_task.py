"""The task as jobs see it: splits, settings, curriculum, presets."""

from __future__ import annotations

import json

import pytest

from tenyson.config.schema import Config
from tenyson.errors import ConfigError, TaskError
from tenyson_wordle.game.board import from_data
from tenyson_wordle.game.knowledge import knowledge_of
from tenyson_wordle.game.rules import Turn
from tenyson_wordle.rollouts.prompt import STYLES
from tenyson_wordle.task import WordleTask


def test_evaluation_pairs_by_secret_whatever_the_seed(chat):
    """The same ids in the same order, each once."""
    for split in ("all", "train", "held_out"):
        ids = [sample.id for sample in chat.eval_samples(split, 0)]
        assert ids == [sample.id for sample in chat.eval_samples(split, 99)]
        assert len(ids) == len(set(ids))


def test_eval_means_held_out(chat):
    """A configuration that says nothing is measured on secrets that training never used."""
    assert [s.id for s in chat.eval_samples("eval", 0)] == [s.id for s in chat.eval_samples("held_out", 0)]
    held = set(chat.lexicon.secrets("held_out"))
    assert {s.data["secret"] for s in chat.eval_samples("eval", 0)} == held
    assert not held & {s.data["secret"] for s in chat.eval_samples("train", 0)}
    with pytest.raises(TaskError, match="no evaluation split 'test'"):
        chat.eval_samples("test", 0)


def test_samples_and_info_are_json(chat, compact):
    """They cross processes and go into the database."""
    for task in (chat, compact):
        sample = next(iter(task.eval_samples("all", 0)))
        environment = task.environment(sample)
        environment.step("\x00 no guess \ud83d")
        json.dumps([sample.data, list(sample.prompt), dict(environment.info())])


@pytest.mark.slow
def test_the_curriculum_begins_in_mid_play():
    """With at most as many candidates as asked for, unless four guesses left more; the board can be played on."""
    task = WordleTask(start_candidates=[0, 4])
    samples = list(task.rl_samples("train", 0))
    assert len(samples) == 2 * len(task.lexicon.secrets("train"))
    begun = [sample for sample in samples if sample.data["given"]]
    assert len(begun) == len(samples) / 2
    knowledge = knowledge_of(task.lexicon.answers)
    left = [knowledge.after_turns(from_data(s.data["given"])).bit_count() for s in begun]
    assert sum(number <= 4 for number in left) > 0.95 * len(left)
    assert max(len(s.data["given"]) for s in begun) <= 4
    for sample in begun[:50]:
        assert sample.prompt[-1]["role"] == "user"
        assert task.environment(sample).step(f"<guess>{sample.data['secret']}</guess>").done
    assert [s.id for s in task.rl_samples("train", 0)] == [s.id for s in samples]


def test_hard_mode_and_losing_by_illegal_guesses_reach_the_game():
    """The settings of that name."""
    hard = WordleTask(hard=True)
    sample = next(s for s in hard.eval_samples("all", 0) if s.data["secret"] == "crane")
    assert "Hard mode" in sample.prompt[0]["content"]
    environment = hard.environment(sample)
    environment.step("<guess>crate</guess>")
    assert "hard mode: letter 1 must be c" in environment.step("<guess>slate</guess>").content
    strict = WordleTask(illegal="lose")
    assert strict.environment(sample).step("<guess>zzzzz</guess>").done


def test_an_illegal_guess_is_told_so(chat, compact):
    """In the style's own way, with the turns that are left."""
    environment = chat.environment(next(iter(chat.eval_samples("all", 0))))
    assert "did not count: not in the word list" in environment.step("<guess>zzzzz</guess>").content
    assert "has no <guess>word</guess>" in environment.step("crane").content
    assert "several different guesses" in environment.step("<guess>a</guess><guess>b</guess>").content
    assert "2 guesses left" in environment.step("<guess>fuzzy</guess>").content
    assert compact.environment(next(iter(compact.eval_samples("all", 0)))).step("crane!").content == "!!!!!"


def test_compact_style_is_one_character_a_token():
    """ "?" asks, five letters answer, five marks reply."""
    style = STYLES["compact"]
    assert style.opening(hard=False, suffix="") == [{"role": "user", "content": "?"}]
    assert style.answer(Turn("crane", "Y..G."), 5) == "Y..G."
    assert style.parse(" crane\n").guess == "crane"
    assert style.parse("Crane").illegal == "format"


def test_wrong_settings_are_all_told_at_once_with_the_nearest_name():
    """One error, each problem with its key."""
    with pytest.raises(ConfigError) as error:
        WordleTask(nosie=0.5, illegal="skip", sft_games=0, shaping={"green": 0.1})
    text = str(error.value)
    assert "task.args.nosie" in text
    assert "noise" in text.split("nosie")[1]
    assert "task.args.illegal" in text
    assert "task.args.sft_games" in text
    assert "task.args.shaping.green" in text
    assert "did you mean greens" in text
    assert len(error.value.problems) == 4


def test_provenance_holds_the_hashes_of_the_lists(chat):
    """Stored with every result."""
    assert len(chat.provenance()["answers_sha256"]) == 64
    assert all(isinstance(value, str) for value in chat.provenance().values())


def test_presets_are_valid_and_tiny_comes_first():
    """Each step's configuration passes the schema, and its task can be built from `task.args`."""
    presets = WordleTask.presets()
    assert list(presets) == ["tiny", "smollm2", "qwen3-0.6b", "qwen3-4b"]
    for name, preset in presets.items():
        assert preset.name == name
        assert preset.hardware
        assert [step.label for step in preset.steps] == ["baseline", "sft", "eval-sft", "rl", "eval"]
        assert [step.job for step in preset.steps] == ["eval", "sft", "eval", "rl", "eval"]
        assert [step.model_from for step in preset.steps] == [None, None, "sft", "sft", "rl"]
        for step in preset.steps:
            config = Config.model_validate(step.config)
            assert WordleTask(**config.task.args)
            if step.job == "rl":
                batch = config.training.batch_size * config.training.gradient_accumulation_steps
                assert batch % config.training.num_generations == 0


@pytest.mark.slow
def test_every_evaluation_of_a_preset_measures_the_same_games():
    """Else the stages could not be paired by secret."""
    for preset in WordleTask.presets().values():
        measured = [
            json.dumps([step.config.get(key) for key in ("task", "generation", "evaluation", "engine_args")])
            for step in preset.steps
            if step.job == "eval"
        ]
        assert len(set(measured)) == 1


@pytest.mark.slow
def test_only_the_tiny_preset_measures_a_closed_world():
    """The larger ones are measured on held-out secrets."""
    for name, preset in WordleTask.presets().items():
        splits = {step.config["evaluation"]["split"] for step in preset.steps if step.job == "eval"}
        assert splits == ({"all"} if name == "tiny" else {"held_out"})
