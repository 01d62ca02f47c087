"""The import paths of managers that live in plugins: `tenyson.cloud.aws`, `tenyson.cloud.modal`."""

import subprocess
import sys

import pytest

WITHOUT = """
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name == {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hide())
import tenyson.cloud.{backend}
"""


@pytest.mark.parametrize("backend", ["aws", "modal"])
@pytest.mark.parametrize("part", ["", ".settings"])
def test_the_alias_names_the_pip_line_only_where_the_plugin_itself_is_missing(backend, part):
    """Any other missing module is another trouble, and keeps its own name."""
    hidden, helps = f"tenyson_{backend}{part}", not part
    told = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(hidden=hidden, backend=backend)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode != 0
    assert (f"pip install 'tenyson-{backend}'" in told.stderr) is helps
    assert ("MissingDependencyError" in told.stderr) is helps
    assert hidden in told.stderr
