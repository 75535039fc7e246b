"""Running a chat template that nobody vouches for: Jinja's immutable sandbox, with a meter.

A template comes from the Hub. The sandbox keeps it from reaching Python; the meter (`meter.py`) keeps it from taking
the machine. Nothing is interrupted from outside, so there are no signals, no threads and no state between two renders:
each render has an environment of its own, and only compiled code is shared.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from types import CodeType
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.environment import Template
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from autoload.errors import TemplateError
from autoload.text.filters import PRICED_FILTERS, PRICED_TESTS
from autoload.text.meter import GIVEN_NODE, STEP, Meter, extent, formatted, price_call, price_operator, weigh

LONGEST_TEMPLATE = 65_536  # characters; the longest that are in use have 17,000


class ChatTemplateError(TemplateError, jinja2.TemplateError):
    """A `TemplateError` that servers which catch Jinja's own error catch as well. Facts: `template`, `line`."""


class GenerationTag(Extension):
    """`{% generation %}...{% endgeneration %}`: what the assistant says. Notes where it lies in the text."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        """Turn the block into a call of `_note` with the block as its caller."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_note"), [], [], body).set_lineno(line)

    def _note(self, caller: Macro) -> str:
        environment: Any = self.environment
        said = caller()
        environment.spans.append((environment.written, environment.written + len(said)))
        return said


class TemplateNamespace(Namespace):
    """Jinja's `namespace`, without names that Python means something by."""

    def __init__(*args: Any, **attributes: Any):  # a template may name an attribute `self`
        attributes = dict(*args[1:], **attributes)
        for name in attributes:
            _check_attribute(name)
        Namespace.__init__(args[0], attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_attribute(name)
        super().__setitem__(name, value)


def _check_attribute(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"it sets {name!r} on a namespace; a name must not begin with an underscore")


class TemplateDict:
    """`dict` for templates: the two ways of making one, and none of the type's attributes."""

    def __call__(self, *args: Any, **items: Any) -> dict[Any, Any]:
        return dict(*args, **items)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        """As `dict.fromkeys`."""
        return dict.fromkeys(*args)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(format: str) -> str:
    if len(format) > 200:
        raise SecurityError("it formats the time with more than 200 characters")
    return datetime.now().strftime(format)


class Instrument(NodeTransformer):
    """Puts the meter where Jinja compiles to bare Python: loop turns, comparisons, slices, `~` and tuples.

    A call of the meter is written as a filter: Jinja compiles that to a plain function call. The names cannot be
    written in a template.
    """

    @staticmethod
    def _metered(what: str, node: nodes.Expr) -> nodes.Filter:
        return nodes.Filter(node, what, [], [], None, None).set_lineno(node.lineno)  # pyright: ignore

    def _step(self, body: list[nodes.Node], line: int) -> nodes.Filter:
        """The call that charges for one run of `body`, by its length: what is not metered costs time as well."""
        length = sum(1 for part in body for _ in part.find_all(nodes.Node))
        return self._metered("%step", nodes.Const(STEP + 2 * length).set_lineno(line))  # pyright: ignore

    def _repeated(self, node: Any) -> nodes.Node:
        """A node with a body that runs more than once."""
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(self._step(node.body, node.lineno)).set_lineno(node.lineno))
        return node

    visit_Macro = visit_CallBlock = visit_Block = _repeated

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self._repeated(node)
        if node.test is not None:
            test: Any = nodes.And(self._step([node.test], node.lineno), node.test)
            node.test = test.set_lineno(node.lineno)
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        operands: list[Any] = [node, *node.ops]
        fixed = [_is_constant(o.expr) for o in operands]
        if len(operands) == 2 and any(fixed):
            # against a constant only the search in a text or a list takes time
            if node.ops[0].op in ("in", "notin") and not fixed[1]:
                node.ops[0].expr = self._metered("%search", node.ops[0].expr)
            return node
        for operand in operands:
            operand.expr = self._metered("%touch", operand.expr)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = self._metered("%skim", node.node)
        elif not _is_constant(node.arg):  # printed by the error if it is not there
            node.arg = self._metered("%touch", node.arg)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        node.nodes = [n if _is_constant(n) else self._metered("%touch", n) for n in node.nodes]
        return node

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return node if node.ctx != "load" or _is_constant(node) else self._metered("%touch", node)


def _is_constant(node: nodes.Node) -> bool:
    if isinstance(node, nodes.List | nodes.Tuple):
        return all(map(_is_constant, node.items))
    return isinstance(node, nodes.Const | nodes.TemplateData)


class Sandbox(ImmutableSandboxedEnvironment):
    """The reference's environment for chat templates, with a meter. `for_render` gives the one to use."""

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)
    meter: Meter
    spans: list[tuple[int, int]]
    written: int

    def __init__(self):
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, optimized=False, extensions=[GenerationTag, loopcontrols]
        )
        del self.globals["lipsum"]
        self.globals |= {
            "dict": TemplateDict(),
            "namespace": TemplateNamespace,
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
        }
        self.tests = PRICED_TESTS

    def for_render(self, given: int) -> Sandbox:
        """A copy with a fresh meter, for a caller whose data weigh `given`."""
        new: Any = self.overlay()
        new.meter = meter = Meter(given)
        new.filters = PRICED_FILTERS | {
            "%step": meter.step,
            "%touch": meter.touch,
            "%skim": meter.skim,
            "%search": lambda value: value if isinstance(value, dict) else meter.skim(value),
        }
        new.finalize = meter.touch  # what `{{ ... }}` prints
        new.concat = new._concat
        new.spans, new.written = [], 0
        return new

    def _concat(self, pieces: Iterable[str]) -> str:
        pieces = list(pieces)
        self.meter.charge(sum(map(len, pieces)))
        return "".join(pieces)

    def _generate(self, source: nodes.Template, *args: Any, **options: Any) -> str:
        return super()._generate(Instrument().visit(source), *args, **options)

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call something for the template; every call but that of a filter comes through here."""
        meter = self.meter
        try:
            meter.enter()
            args = price_call(meter, function, args, kwargs)
            result = super().call(context, function, *args, **kwargs)
            if not isinstance(function, Macro) and isinstance(result, str | list):
                meter.charge(extent(result))
            return result
        finally:
            meter.depth -= 1

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic, and what Python does to texts and lists with the same signs."""
        price_operator(self.meter, operator, left, right)
        return self.binop_table[operator](left, right)

    def wrap_str_format(self, value: Any) -> Any:
        """`str.format` and `str.format_map`, which the sandbox replaces by its own."""
        inner = super().wrap_str_format(value)
        if inner is None:
            return None

        def run(*args: Any, **kwargs: Any) -> str:
            self.meter.charge(formatted(str(value.__self__), self.meter.weigh([args, kwargs])))
            return inner(*args, **{k: v for k, v in kwargs.items() if k not in ("_loop_vars", "_block_vars")})

        return run


_SANDBOX = Sandbox()


@lru_cache(maxsize=64)
def _compile(source: str) -> CodeType:
    if len(source) > LONGEST_TEMPLATE:
        raise SecurityError(f"it has {len(source)} characters, more than {LONGEST_TEMPLATE}")
    return _SANDBOX.for_render(0).compile(source)


def render(source: str, variables: dict[str, Any]) -> tuple[str, list[tuple[int, int]]]:
    """Render a template with plain data.

    Args:
        source: the text of the template.
        variables: what the template sees; plain data, since objects bring methods of their own.

    Returns:
        The text, and the character spans (start, end) of its `{% generation %}` blocks.

    Raises:
        ChatTemplateError: the template is wrong, refuses the conversation, does something forbidden, or takes too much.
    """
    try:
        sandbox = _SANDBOX.for_render(weigh(variables, node=GIVEN_NODE))
        template = Template.from_code(sandbox, _compile(source), sandbox.make_globals(None))
        pieces = []
        for piece in template.root_render_func(template.new_context(variables)):
            sandbox.meter.charge(len(piece))
            sandbox.written += len(piece)
            pieces.append(piece)
        return "".join(pieces), sandbox.spans
    except Exception as error:  # a template can raise whatever Python can
        line = _line(error)
        reason = " ".join(str(error).split())[:500] or type(error).__name__
        if isinstance(error, RecursionError | MemoryError):  # Python's parser runs out of "memory" when nested
            reason = "it is nested too deeply, or calls itself without end"
        where = f"chat_template, line {line}" if line else "chat_template"
        if type(error) is jinja2.TemplateError:  # the template's own: raise_exception(...)
            text, remedy = f"{where}: {reason}", ""
        else:
            text, remedy = f"{where}: {reason.rstrip('.')}.", None
        raise ChatTemplateError(text, template=source, line=line, remedy=remedy) from error


def _line(error: BaseException) -> int | None:
    """The innermost line of the template that an error passed through."""
    line, step = getattr(error, "lineno", None), error.__traceback__
    while step is not None:
        template = step.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            line = template.get_corresponding_lineno(step.tb_lineno)
        step = step.tb_next
    return line
