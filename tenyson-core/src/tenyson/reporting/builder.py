"""ReportBuilder: a markdown template whose `{placeholders}` must all be filled before there is a report."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tenyson.config.explain import nearest
from tenyson.errors import ReportError
from tenyson.reporting.wandb import latest_value

_NAME = r"[A-Za-z_][A-Za-z0-9_.-]*"
_TOKEN = re.compile(rf"\{{(\{{{_NAME}\}})\}}|\{{({_NAME})\}}")


class ReportBuilder:
    """Turns a markdown template into a report; every method but `build` and `write` returns the builder.

    A placeholder is a name in braces: letters, digits, `_`, `.` and `-`, beginning with a letter or `_`. `{{name}}`
    is a literal `{name}`; any other brace, such as that of a JSON snippet, is left as it is. Values are put
    in as they are: a placeholder inside a value is not filled again.
    """

    def __init__(self, template: str | Path) -> None:
        """`template`: a Path is a file; a string is the template itself, unless it is one line ending in `.md`.

        Raises: ReportError: the template file cannot be read.
        """
        self._place: str | None = None
        if isinstance(template, str) and template.endswith(".md") and not re.search(r"[\n{]", template):
            template = Path(template)
        if isinstance(template, Path):
            self._place = str(template)
            try:
                template = template.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
                raise ReportError(f"cannot read the template: {reason}", place=self._place) from error
        self._template = template
        self._values: dict[str, str] = {}

    @property
    def placeholders(self) -> list[str]:
        """Names of the template's placeholders, each once, in order."""
        return list(dict.fromkeys(name for _, name in _TOKEN.findall(self._template) if name))

    def fill(self, data: Mapping[str, Any]) -> Self:
        """Fill placeholders with `str(value)`; names that the template lacks are ignored, later values win.

        Raises: ReportError: a value that the template wants is None or not a finite number.
        """
        wanted = set(self.placeholders)
        missing = [name for name, value in data.items() if name in wanted and _is_nothing(value)]
        if missing:
            raise self._missing(missing, "filled with None or with what is not a number")
        self._values.update({name: str(value) for name, value in data.items() if not _is_nothing(value)})
        return self

    def attach_wandb_scalar_link(self, placeholder: str, run_url: str, metric_name: str) -> Self:
        """Fill with a markdown link, named after the metric, to its run on W&B. Asks nobody.

        Raises: ReportError: `run_url` is no URL, as where the run was not sent to W&B.
        """
        if not re.match(r"(https?|file)://\S+$", run_url or ""):
            raise ReportError(
                f"missing: {placeholder}: no W&B address for {metric_name}: {run_url!r}",
                place=self._place,
                next_step="Set wandb.project in the configuration of the run, or leave the placeholder out.",
            )
        address = run_url.replace("(", "%28").replace(")", "%29")
        return self.fill({placeholder: f"[{metric_name}]({address})"})

    def attach_wandb_latest_value(self, placeholder: str, run_path: str, metric_name: str) -> Self:
        """Fill with the metric's latest value, as W&B has it in the summary of `entity/project/run_id`.

        A number that cannot be had is an error at once, never a gap in the report; who would rather print
        a remark catches the error and fills the placeholder with it.

        Raises:
            MissingDependencyError: wandb is not installed.
            ReportError: W&B cannot be reached, does not know the run, or has no such metric.
        """
        value = latest_value(run_path, metric_name)
        return self.fill({placeholder: f"{value:.6g}" if isinstance(value, float) else value})

    def build(self) -> str:
        """The finished report.

        Raises: ReportError: placeholders were never filled; names all of them.
        """
        missing = [name for name in self.placeholders if name not in self._values]
        if missing:
            raise self._missing(missing, "never filled")
        return _TOKEN.sub(lambda token: token[1] or self._values[token[2]], self._template)

    def write(self, path: str | Path) -> Path:
        """Build, write to `path` as UTF-8 and return it; folders are made. An unfinished report leaves no file.

        Raises: ReportError, as `build`; OSError.
        """
        text = self.build()
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def _missing(self, names: list[str], why: str) -> ReportError:
        unused = [name for name in self._values if name not in self.placeholders]
        hints = [
            f"{name} (is {near!r} meant for it?)" if (near := nearest(name, unused)) else name
            for name in names
        ]
        return ReportError(
            f"missing: {', '.join(hints)}: {why}",
            place=self._place,
            next_step="Fill each with .fill({...}); write {{name}} for a literal {name}.",
        )


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))
