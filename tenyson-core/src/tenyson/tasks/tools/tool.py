"""A tool: a function that the model may call in its replies."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from tenyson.errors import TaskError
from tenyson.tasks.usercode import shown, text_fault, user_code

if TYPE_CHECKING:
    from pydantic import BaseModel

LARGEST_SCHEMA = 100_000
"""Characters of a tool's parameters: they stand in every prompt."""


@dataclass(frozen=True)
class Tool:
    """A function, and what the model is told of it. `tool(function)` makes one of a plain function.

    Raises:
        TaskError: the name is no name, or the parameters are no JSON schema of an object.
    """

    name: str
    """Letters, digits, `_`, `-` and `.`."""
    description: str
    parameters: Mapping[str, Any]
    """JSON schema of an object: the arguments by name."""
    function: Callable[..., Any] = field(repr=False)
    """Gets the arguments by name; sync or async. What it returns is shown to the model: text as it is, all else as JSON."""
    example: Mapping[str, Any] | None = None
    """Arguments of a call that does no harm: preflight makes it once. None: preflight never calls the tool."""
    _model: type[BaseModel] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        from tenyson.tasks.tools.schema import check_parameters, require_libraries

        require_libraries()

        if fault := _name_fault(self.name):
            raise TaskError(
                f"the name of the tool {self.name!r} {fault}", next_step="Use letters, digits, _ and -."
            )
        if not callable(self.function):
            raise TaskError(f"the function of the tool {self.name} is {shown(self.function)}")
        if fault := text_fault(self.description):
            raise TaskError(f"the description of the tool {self.name} {fault}")
        check_parameters(self.name, self.parameters, longest=LARGEST_SCHEMA)
        if self.example is not None and not isinstance(self.example, Mapping):
            raise TaskError(
                f"the example of the tool {self.name} is {shown(self.example)}, not arguments by name",
                next_step='Write example={"city": "Paris"}, or {} for a tool without arguments.',
            )

    @property
    def schema(self) -> dict[str, Any]:
        """What chat templates and OpenAI-compatible endpoints take."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}

    def bind(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as the function takes them. Raises: ToolError: they do not fit the parameters."""
        from tenyson.tasks.tools.schema import by_model, by_schema

        if self._model is not None:
            return by_model(self._model, arguments)
        return by_schema(self._validator, arguments)

    def require_accepted(self, arguments: Mapping[str, Any]) -> None:
        """Raises: ToolError: the function takes no such arguments, although they fit the parameters."""
        from tenyson.tasks.tools.schema import require_accepted

        require_accepted(self._signature, arguments)

    def faults(self) -> Iterator[tuple[Literal["error", "warning"], str]]:
        """What is wrong between the parameters and the function's signature: whether no call can work, or only some, and why."""
        from tenyson.tasks.tools.schema import signature_faults

        yield from signature_faults(self.parameters, self._signature)

    @cached_property
    def _signature(self) -> inspect.Signature | None:
        """None where Python cannot tell, as of some functions that are written in C."""
        try:
            return inspect.signature(self.function)
        except (TypeError, ValueError):
            return None

    @cached_property
    def _validator(self) -> Any:
        from tenyson.tasks.tools.schema import validator

        return validator(self.parameters)


def tool(function: Callable[..., Any], *, example: Mapping[str, Any] | None = None) -> Tool:
    """A tool of a plain function: its name, its docstring, its annotations.

    Args:
        example: arguments of a call that does no harm, which preflight makes once.

    Raises:
        TaskError: the function takes arguments by position only or any number of them, or an annotation has no JSON schema.
    """
    from tenyson.tasks.tools.schema import described, model_of, parameters_of, require_libraries

    require_libraries()

    name = getattr(function, "__name__", type(function).__name__)
    with user_code(f"the signature of the tool {name}"):
        description, texts = described(inspect.getdoc(function) or "")
        model = model_of(name, function, texts)
        parameters = parameters_of(model)
    return Tool(name, description, parameters, function, example, model)


def tools_of(found: Any, hook: str) -> list[Tool]:
    """What a task's `tools` hook returned, functions made into tools. `hook` names it in messages.

    Raises:
        TaskError: it holds something else, or two tools of one name.
    """
    if found is None:
        return []
    if isinstance(found, (str, bytes, Mapping)) or not isinstance(found, Iterable):
        raise TaskError(f"{hook} returned {shown(found)}, not tools", next_step="Return a list of functions.")
    tools: list[Tool] = []
    with user_code(hook):
        items: Sequence[Any] = list(found)
    for one in items:
        if not isinstance(one, Tool) and not callable(one):
            raise TaskError(f"{hook} holds {shown(one)}, which is neither a function nor a Tool")
        try:
            tools.append(one if isinstance(one, Tool) else tool(one))
        except TaskError as error:
            raise TaskError(f"{hook}: {error.cause}", next_step=error.next_step) from None
    names = [one.name for one in tools]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise TaskError(f"{hook}: two tools have the same name: {', '.join(twice)}")
    return tools


def _name_fault(name: Any) -> str | None:
    if fault := text_fault(name):
        return fault
    if not name or len(name) > 64:
        return "is empty" if not name else "is longer than 64 characters"
    odd = sorted(
        {letter for letter in name if not (letter.isascii() and (letter.isalnum() or letter in "_-."))}
    )
    return f"holds {' '.join(map(repr, odd))}" if odd else None
