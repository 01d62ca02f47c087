"""tenyson-modal before launching exists: it is known, checks its settings, and says plainly what it cannot do."""

import subprocess
import sys

import pytest

from tenyson.cloud.modal import ModalManager
from tenyson.errors import BackendError, ConfigError
from tenyson.jobs.spec import JobSpec


class Job:
    def spec(self):
        return JobSpec("r", "sft", "m:C", {})


def test_the_specifications_arguments_are_taken():
    """GPU, time limit and names of secrets."""
    manager = ModalManager(gpu="H100:8", timeout=3600, secrets=["huggingface"])
    assert manager.backend.settings.gpu == "H100:8"


def test_running_says_that_launching_comes_later_and_what_to_use_instead():
    """Nothing is started, and the next step is named."""
    with pytest.raises(BackendError, match="later version") as caught:
        ModalManager().run(Job())
    assert "--backend local" in caught.value.next_step


def test_all_wrong_settings_are_named_at_once_with_the_nearest_name():
    """An unknown key and a wrong value, in one error."""
    with pytest.raises(ConfigError) as caught:
        ModalManager(timeouts=5, cpu=-1)
    text = str(caught.value)
    assert "backend.settings.timeouts: unknown key (did you mean backend.settings.timeout?)" in text
    assert "backend.settings.cpu" in text


WITHOUT = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name == {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hide())
import tenyson.cloud.modal
"""


@pytest.mark.parametrize(("hidden", "helps"), [("tenyson_modal", True), ("tenyson_modal.settings", False)])
def test_the_alias_names_the_pip_line_only_where_the_plugin_itself_is_missing(hidden, helps):
    """Any other missing module is another trouble, and keeps its own name."""
    told = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(hidden=hidden)], capture_output=True, text=True, check=False
    )
    assert told.returncode != 0
    assert ("pip install 'tenyson-modal'" in told.stderr) is helps
    assert ("MissingDependencyError" in told.stderr) is helps
    assert hidden in told.stderr


def test_the_plugin_imports_neither_modal_nor_pydantic():
    """Listing plugins must stay cheap."""
    code = "import tenyson_modal.plugin, sys; assert not {'modal', 'pydantic'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
