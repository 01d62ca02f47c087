from pathlib import Path

from tenyson.config.load import parse_config
from tenyson.config.schema import Config
from tenyson.telemetry import MetricsLogged
from tenyson.testing.sinks import SinkContract

from my_thing.sink import MyThingSink


class TestContract(SinkContract):
    sink = MyThingSink
    kept = ("metrics",)

    def recorded(self, config: Config, run_dir: Path, printed: str) -> str:
        return (run_dir / "my-thing.csv").read_text(encoding="utf-8")


def test_the_file_is_called_as_the_settings_say(tmp_path: Path) -> None:
    settings = {"my-thing": {"file": "numbers.csv"}}
    config = parse_config({"model": {"name": "m"}, "telemetry": {"settings": settings}})
    sink = MyThingSink(config, tmp_path)
    sink.write(MetricsLogged(run_id="r", phase="sft", step=3, values={"loss": 0.5}))
    sink.close()
    assert (tmp_path / "numbers.csv").read_text(encoding="utf-8") == "sft,3,loss,0.5\n"
