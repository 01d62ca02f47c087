"""Write docs/reference/configuration.md from the schema: `python docs/generate.py`; with --check only compare."""

from __future__ import annotations

import json
import sys
import types
import typing
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from tenyson.config.checks.load_arguments import ATTRIBUTES_REFUSED, LOAD_HONOURED, LOAD_OWNED, LOAD_REFUSED
from tenyson.config.checks.passthrough import OWNED
from tenyson.config.checks.relevance import readers
from tenyson.config.checks.supported import ENGINE_REFUSED, PEFT_NEEDS, PEFT_REFUSED, VLLM_IN_RL
from tenyson.config.checks.trl_arguments import TrlArguments
from tenyson.config.schema import Config, Section
from tenyson.plugins.job_kinds import JOB_KINDS

PAGE = Path(__file__).parent / "reference" / "configuration.md"

HEAD = """\
# Configuration

<!-- Written by docs/generate.py from tenyson-core/src/tenyson/config/schema.py. Do not edit. -->

One schema, in YAML or JSON, for local and remote runs. Unknown keys are refused with the nearest valid one; all problems
are reported at once, each with file, line and key.

```bash
tenyson config schema                      # JSON Schema, for editors; --experiment: of experiment files
tenyson config check FILE --job sft        # every problem; exit status 2 if there is an error
tenyson config show FILE --set run.seed=1  # with all defaults filled in
```

`--set section.key=value` overrides a key; the value is YAML, or taken literally if the key holds text. YAML is read
as usual (`no`, `on` and `yes` are booleans: quote them where text is meant), except that `1e-4` is a number, and dates,
clock times and numbers with leading zeros are text. A file may have 1 MB, 50 levels and 50,000 values; NaN, infinity,
duplicate keys and Python tags are refused.

null is a value, in a file, in a step of an experiment file and with `--set`: `save_total_limit: null` keeps all checkpoints.
The value `${default}` removes a key, so that its default applies.

Paths in a file that `tenyson run` reads are relative to that file, those of the command line to the working directory; see
[Chain jobs into a pipeline](../how-to/pipeline.md). `~` and variables such as `$HOME` are filled in, in `task.module`, `model.name`,
`model.adapter`, `run.output_dir`, `training.resume_from_checkpoint` and the path of a SQLite URL.

Secrets are never stored: keys that end in `_env` hold the name of an environment variable.

A minimal file:

```yaml
model:
  name: HuggingFaceTB/SmolLM2-135M-Instruct
task:
  name: wordle
training:
  learning_rate: 1e-4
  max_steps: 100
```
"""


def page() -> str:
    """The page as Markdown."""
    parts, verbatim = [HEAD], []
    for name, info in Config.model_fields.items():
        model = info.annotation
        if isinstance(model, type) and issubclass(model, Section):
            parts.append(_section(name, model))
        else:
            verbatim.append((name, info))
    rows = [f"| `{name}` | {_cell(info.description)} | {_jobs(name)} |" for name, info in verbatim]
    parts.append(
        "## Passed through verbatim\n\n"
        "Names are checked against the installed TRL, PEFT and engine before a job starts.\n\n"
        "| key | meaning | read by |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n\n"
        "Tenyson gives some arguments itself, since resuming, results or secrets depend on them:\n\n"
        "| refused | use instead |\n| --- | --- |\n"
        + "\n".join(
            f"| `{part}.{name}` | `{key}` |" for part, names in OWNED.items() for name, key in names.items()
        )
        + "\n"
    )
    return "\n".join([*parts, _without_effect()])


def _without_effect() -> str:
    kinds = {
        kind.name.upper(): arguments for kind in JOB_KINDS.values() if (arguments := kind.part("arguments"))
    }
    names = sorted(set().union(*(one.honoured | one.refused.keys() for one in kinds.values())))
    verdicts = {name: [_verdict(one, name) for one in kinds.values()] for name in names}
    everywhere = [name for name, told in verdicts.items() if set(told) == {"acts"}]
    rows = [
        f"| `{name}` | {' | '.join(told if len(set(told)) > 1 else [*told[:1], *('same' for _ in told[1:])])} |"
        for name, told in verdicts.items()
        if name not in everywhere
    ]
    refused = [(f"peft: `{name}`", *words) for name, words in PEFT_REFUSED.items()]
    refused += [
        (f"engine_args, trl.generation_kwargs: `{name}`", *words) for name, words in ENGINE_REFUSED.items()
    ]
    load = [(f"`{name}`", "has a key of its own", key) for name, key in LOAD_OWNED.items()]
    load += [(f"`{name}`", *words) for name, words in {**LOAD_REFUSED, **ATTRIBUTES_REFUSED}.items()]
    needs = [f"`peft.{name}` acts only with {_either(needed)}." for name, needed in PEFT_NEEDS.items()]
    handed = ", ".join(f"`{name}`" for name in sorted(VLLM_IN_RL))
    return (
        "### What becomes of each argument of TRL\n\n"
        "Every argument of the installed TRL acts, or is refused with the reason and the key to use; none is taken without effect. "
        f"In all of {_list(list(kinds))} act:\n\n"
        + ", ".join(f"`{name}`" for name in everywhere)
        + "\n\nThe others, by kind of job (no entry: TRL's configuration has no such argument):\n\n"
        + f"| `trl` | {' | '.join(kinds)} |\n| --- |{' --- |' * len(kinds)}\n"
        + "\n".join(rows)
        + "\n\n### Refused arguments of PEFT and of the engines\n\n"
        "| refused | because it | instead |\n| --- | --- | --- |\n"
        + "\n".join(f"| {name} | {cause} | {use.removeprefix('use ')} |" for name, cause, use in refused)
        + "\n\n"
        + " ".join(needs)
        + f"\n\nIn RL with vLLM, `engine_args` may hold {handed}; others are refused. On a "
        "CPU only `max_model_len` and `model_impl` act, and the rest are refused.\n"
        "\n### What model.load_args takes\n\n"
        f"Of `from_pretrained`: {', '.join(f'`{name}`' for name in sorted(LOAD_HONOURED))}. Beside them every attribute of the "
        "model's own configuration (config.json), but for these:\n\n"
        "| refused | because it | instead |\n| --- | --- | --- |\n"
        + "\n".join(f"| {name} | {cause} | {use.removeprefix('use ')} |" for name, cause, use in load)
        + "\n"
    )


def _verdict(arguments: TrlArguments, name: str) -> str:
    """What becomes of one argument in one kind of job."""
    if name in arguments.refused:
        cause, use = arguments.refused[name]
        return f"refused: {cause}" + (f"; {use}" if use else "")
    if name not in arguments.honoured:
        return ""
    needed = arguments.needs.get(name, ())
    return f"acts with {_either(needed)}" if needed else "acts"


def _either(keys: tuple[str, ...]) -> str:
    return " or ".join(f"`{key}`" for key in keys)


def _list(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _section(name: str, model: type[Section]) -> str:
    rows = []
    for key, info in model.model_fields.items():
        default = "required" if info.is_required() else f"`{json.dumps(info.default)}`"
        only = _read_by(f"{name}.{key}")
        meaning = _cell(info.description) + (
            only if not _cell(info.description).startswith(("SFT:", "RL:")) else ""
        )
        rows.append(f"| `{key}` | {_type(info)} | {default} | {meaning} |")
    head = f"## {name}\n\n{(model.__doc__ or '').strip()}{_read_by(name)}\n\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n"
    return head + "\n".join(rows) + "\n"


def _read_by(key: str) -> str:
    jobs = _jobs(key)
    return "" if jobs == "every job" else f" Read by {jobs}."


def _jobs(key: str) -> str:
    kinds = list(JOB_KINDS.values())
    return readers(key, kinds) if any(key in kind.unread for kind in kinds) else "every job"


def _type(info: FieldInfo) -> str:
    signs = {"gt": "> ", "ge": "≥ ", "lt": "< ", "le": "≤ "}
    bounds = [
        f"{sign}{getattr(rule, name)}"
        for rule in info.metadata
        for name, sign in signs.items()
        if getattr(rule, name, None) is not None
    ]
    return _words(info.annotation) + (f", {', '.join(bounds)}" if bounds else "")


def _words(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _words(arguments[0])
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_words(part) for part in arguments)
    if origin is list:
        return f"list of {_words(arguments[0])}"
    if origin is dict:
        return "mapping"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null"}
    return names[annotation]


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(
            0
            if PAGE.read_text(encoding="utf-8") == page()
            else f"{PAGE} is out of date: python docs/generate.py"
        )
    PAGE.write_text(page(), encoding="utf-8")
