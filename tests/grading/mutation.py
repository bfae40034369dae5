"""Wrong versions of the reference solutions, made by one change each, and marked as a submission is.

A change is one that a student may well make: another operator, axis, bound or reduction, a mask or a term that is
missing, arguments in another order, a check that was left out. The texts of error messages are left alone.
"""

from __future__ import annotations

import ast
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tlib.course import codec, grading, specs, worker
from tlib.course.exercises import SETUP, Exercise
from tlib.course.specs import Property

ROOT = Path(__file__).parents[2]
Solution = str | Callable[..., Any]  # a source, or the function itself
SECONDS = 2.0  # of computing that a wrong version gets: an endless loop is a wrong version, too
MODULES = {"torch", "np", "F", "nn", "math"}
OPERATORS: dict[type, list[type]] = {
    ast.Add: [ast.Sub, ast.Mult],
    ast.Sub: [ast.Add, ast.Mult],
    ast.Mult: [ast.Add, ast.Div],
    ast.Div: [ast.Mult, ast.FloorDiv, ast.Sub],
    ast.Pow: [ast.Mult, ast.Div],
    ast.MatMult: [ast.Mult, ast.Add],
    ast.BitOr: [ast.BitAnd, ast.BitXor],
    ast.BitAnd: [ast.BitOr, ast.BitXor],
    ast.And: [ast.Or],
    ast.Or: [ast.And],
    ast.Lt: [ast.LtE, ast.Gt, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt, ast.GtE],
    ast.Gt: [ast.GtE, ast.Lt, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt, ast.LtE],
    ast.Eq: [ast.NotEq, ast.LtE, ast.GtE],
    ast.NotEq: [ast.Eq, ast.Lt, ast.Gt],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
}
TWINS = [
    ("sum", "mean"), ("max", "min"), ("amax", "amin"), ("any", "all"), ("maximum", "minimum"), ("argmax", "argmin"),
    ("zeros", "ones"), ("zeros_like", "ones_like"), ("log", "log1p"), ("exp", "expm1"), ("sqrt", "square"),
    ("square", "abs"), ("softmax", "log_softmax"), ("lower", "upper"), ("cumsum", "cumprod"), ("float", "int"),
    ("int", "round"), ("stack", "cat"), ("cat", "stack"),
]  # fmt: skip
ORDERED = (ast.Sub, ast.Div, ast.Pow, ast.MatMult)  # operands in another order give another result
SYMMETRIC = ("max", "min", "maximum", "minimum")  # arguments in another order give the same result
ERRORS = ("TypeError", "IndexError", "RuntimeError")


class TooLongError(BaseException):
    """A wrong version used up its time."""


@dataclass(frozen=True)
class Mutant:
    """A wrong version of a reference solution: the kind of change, its lines before and after, and all of it."""

    exercise: str
    kind: str
    before: str
    after: str
    source: str

    @property
    def key(self) -> tuple[str, str]:
        return self.exercise, self.after


# Making them


def mutants(exercise: Exercise) -> list[Mutant]:
    """All wrong versions of an exercise's solution, each text once."""
    return _mutants(exercise.id, ast.unparse(ast.parse(exercise.solution.source)))


@cache
def _mutants(exercise: str, source: str) -> list[Mutant]:
    found: dict[str, Mutant] = {}
    for place, node in enumerate(ast.walk(_marked(source))):
        for choice, _ in enumerate(_changes(node)):
            kind, text = _changed(source, place, choice)
            if text != source and text not in found:
                found[text] = Mutant(exercise, kind, *_lines_apart(source, text), text)
    return list(found.values())


def _changed(source: str, place: int, choice: int) -> tuple[str, str]:
    """The kind and the text of the change number `choice` at node number `place`."""
    tree = _marked(source)
    node = list(ast.walk(tree))[place]
    kind, new = list(_changes(node))[choice]
    return kind, ast.unparse(ast.fix_missing_locations(_Swap(node, new).visit(tree)))


class _Swap(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)


def _marked(source: str) -> ast.Module:
    """The tree, with `fixed` nodes that stay as they are, and the parameters' names at each use of one."""
    tree = ast.parse(source)
    (function,) = tree.body
    assert isinstance(function, ast.FunctionDef)
    parameters = [argument.arg for argument in function.args.args]
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise):
            _fix(node.exc)
        if isinstance(node, ast.keyword) and isinstance(node.value, ast.Tuple):
            node.value.unordered = True  # axes
        if isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant):
            _fix(node.operand)  # a negative number is one number
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in parameters:
            node.others = [name for name in parameters if name != node.id]
    _fix(function.body[0])  # the docstring
    return tree


def _fix(node: ast.AST | None) -> None:
    for inner in ast.walk(node) if node else ():
        inner.fixed = True


def _lines_apart(before: str, after: str) -> tuple[str, str]:
    """The lines in which two texts differ, without indentation."""
    left, right = before.splitlines(), after.splitlines()
    while left and right and left[0] == right[0]:
        del left[0], right[0]
    while left and right and left[-1] == right[-1]:
        del left[-1], right[-1]
    return tuple("\n".join(line.strip() for line in lines) for lines in (left, right))


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What may stand in a node's place, each with the kind of change."""
    if getattr(node, "fixed", False):
        return
    if isinstance(node, (ast.Assign, ast.Expr, ast.Return, ast.If, ast.For)):
        yield "removed statement", ast.Pass()
    for kind, change in BY_NODE.items():
        if isinstance(node, kind):
            yield from change(node)


def _of_constant(node: ast.Constant) -> Iterator[tuple[str, ast.AST]]:
    yield from _numbers(node.value)


def _of_unary(node: ast.UnaryOp) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        yield from _numbers(-node.operand.value)
    else:
        yield "dropped operator", node.operand


def _numbers(value: Any) -> Iterator[tuple[str, ast.AST]]:
    others: list[Any] = []
    if isinstance(value, bool):
        others = [not value]
    elif isinstance(value, int):
        others = [value + 1, value - 1, -value, 0]
    elif isinstance(value, float):
        others = [value / 2, value * 2, -value, 0.0]
    for other in others:
        if other != value:
            yield "another constant", ast.parse(repr(other), mode="eval").body


def _of_binary(node: ast.BinOp) -> Iterator[tuple[str, ast.AST]]:
    for operator in OPERATORS.get(type(node.op), []):
        yield "another operator", ast.BinOp(node.left, operator(), node.right)
    yield "dropped term", node.left
    yield "dropped term", node.right
    if isinstance(node.op, ORDERED):
        yield "swapped operands", ast.BinOp(node.right, node.op, node.left)


def _of_boolean(node: ast.BoolOp) -> Iterator[tuple[str, ast.AST]]:
    for operator in OPERATORS[type(node.op)]:
        yield "another operator", ast.BoolOp(operator(), node.values)
    for value in node.values:
        yield "dropped condition", value


def _of_comparison(node: ast.Compare) -> Iterator[tuple[str, ast.AST]]:
    for place, each in enumerate(node.ops):
        for operator in OPERATORS[type(each)]:
            ops = [*node.ops[:place], operator(), *node.ops[place + 1 :]]
            yield "another comparison", ast.Compare(node.left, ops, node.comparators)
    if len(node.ops) > 1:
        yield "dropped condition", ast.Compare(node.left, node.ops[:-1], node.comparators[:-1])
        yield "dropped condition", ast.Compare(node.comparators[0], node.ops[1:], node.comparators[1:])


def _of_call(node: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    arguments = [each for each in node.args if not isinstance(each, ast.Starred)]
    if isinstance(node.func, ast.Attribute) and not _is_module(node.func.value):
        yield "dropped call", node.func.value
    for each in arguments:
        yield "dropped call", each
    for args in _shorter(node.args):
        yield "dropped argument", ast.Call(node.func, args, node.keywords)
    for args in _swapped(node.args) if _ending(node.func) not in SYMMETRIC else ():
        yield "swapped arguments", ast.Call(node.func, args, node.keywords)
    for keywords in _shorter(node.keywords):
        yield "dropped keyword", ast.Call(node.func, node.args, keywords)
    if _ending(node.func) in ("arange", "range"):
        for other in (ast.Add(), ast.Sub()):
            last = ast.BinOp(node.args[-1], other, ast.Constant(1))
            yield "off by one", ast.Call(node.func, [*node.args[:-1], last], node.keywords)


def _is_module(node: ast.AST) -> bool:
    return _name(node) in MODULES or (isinstance(node, ast.Attribute) and _is_module(node.value))


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _ending(node: ast.AST) -> str:
    """The last part of a dotted name: `maximum` of `torch.maximum`."""
    return node.attr if isinstance(node, ast.Attribute) else _name(node)


def _shorter(items: list) -> Iterator[list]:
    """The list without each of its items in turn."""
    for place in range(len(items)):
        yield items[:place] + items[place + 1 :]


def _swapped(items: list) -> Iterator[list]:
    """The list with each two neighbours swapped in turn."""
    for place in range(len(items) - 1):
        yield [*items[:place], items[place + 1], items[place], *items[place + 2 :]]


def _of_attribute(node: ast.Attribute) -> Iterator[tuple[str, ast.AST]]:
    for one, other in _twins(node.attr):
        yield f"{other} for {one}", ast.Attribute(node.value, other, node.ctx)
    if node.attr in ("T", "mT"):
        yield "not transposed", node.value


def _of_name(node: ast.Name) -> Iterator[tuple[str, ast.AST]]:
    for one, other in _twins(node.id) if isinstance(node.ctx, ast.Load) else ():
        yield f"{other} for {one}", ast.Name(other, node.ctx)
    for other in getattr(node, "others", ()):
        yield "another argument", ast.Name(other, node.ctx)


def _twins(name: str) -> Iterator[tuple[str, str]]:
    for one, other in TWINS:
        if name in (one, other):
            yield name, other if name == one else one


def _of_sequence(node: ast.Tuple | ast.List) -> Iterator[tuple[str, ast.AST]]:
    for items in _swapped(node.elts) if not hasattr(node, "unordered") else ():
        yield "swapped items", type(node)(items, node.ctx)
    if isinstance(node.ctx, ast.Load) and len(node.elts) > 1:
        for items in _shorter(node.elts):
            yield "dropped item", type(node)(items, node.ctx)


def _of_subscript(node: ast.Subscript) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node.ctx, ast.Load):
        yield "dropped index", node.value


def _of_slice(node: ast.Slice) -> Iterator[tuple[str, ast.AST]]:
    for lower in _bounds(node.lower, ast.Constant(1)):
        yield "another slice", ast.Slice(lower, node.upper, node.step)
    for upper in _bounds(node.upper, ast.UnaryOp(ast.USub(), ast.Constant(1))):
        yield "another slice", ast.Slice(node.lower, upper, node.step)
    if node.step:
        yield "another slice", ast.Slice(node.lower, node.upper, None)


def _bounds(bound: ast.expr | None, default: ast.expr) -> Iterator[ast.expr | None]:
    if bound is None:
        yield default
        return
    yield None
    for operator in (ast.Add(), ast.Sub()):
        yield ast.BinOp(bound, operator, ast.Constant(1))


def _of_if(node: ast.If) -> Iterator[tuple[str, ast.AST]]:
    yield "negated condition", ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    if node.orelse:
        yield "swapped branches", ast.If(node.test, node.orelse, node.body)
        yield "one branch", ast.If(ast.Constant(True), node.body, [])
        yield "one branch", ast.If(ast.Constant(True), node.orelse, [])


def _of_for(node: ast.For) -> Iterator[tuple[str, ast.AST]]:
    every = ast.List([ast.Starred(node.iter, ast.Load())], ast.Load())
    for kind, rounds in (("one round only", ":1"), ("first round missing", "1:"), ("last round missing", ":-1")):
        part = ast.parse(f"every[{rounds}]", mode="eval").body.slice
        yield kind, ast.For(node.target, ast.Subscript(every, part, ast.Load()), node.body, node.orelse)


def _of_raise(node: ast.Raise) -> Iterator[tuple[str, ast.AST]]:
    yield "removed statement", ast.Pass()
    assert isinstance(node.exc, ast.Call)
    for error in ERRORS:
        yield "another error", ast.Raise(ast.Call(ast.Name(error, ast.Load()), node.exc.args, []), node.cause)


def _of_comprehension(node: ast.comprehension) -> Iterator[tuple[str, ast.AST]]:
    for condition in node.ifs:
        other = [ast.UnaryOp(ast.Not(), condition) if each is condition else each for each in node.ifs]
        yield "negated condition", ast.comprehension(node.target, node.iter, other, node.is_async)


BY_NODE: dict[Any, Callable[[Any], Iterator[tuple[str, ast.AST]]]] = {
    ast.Constant: _of_constant,
    ast.UnaryOp: _of_unary,
    ast.BinOp: _of_binary,
    ast.BoolOp: _of_boolean,
    ast.Compare: _of_comparison,
    ast.Call: _of_call,
    ast.Attribute: _of_attribute,
    ast.Name: _of_name,
    (ast.Tuple, ast.List): _of_sequence,
    ast.Subscript: _of_subscript,
    ast.Slice: _of_slice,
    ast.If: _of_if,
    ast.For: _of_for,
    ast.Raise: _of_raise,
    ast.comprehension: _of_comprehension,
}


# Marking them


@dataclass(frozen=True)
class Compiled(Exercise):
    """An exercise whose solution is compiled once, as it is marked thousands of times."""

    def reference(self) -> Callable[..., Any]:
        return _reference(self.function, self.solution.source)


@cache
def _reference(name: str, source: str) -> Any:
    return _defined(source, name)


@cache
def tasks() -> list[grading.Assignment]:
    """The assignments of all chapters that have one."""
    return [grading.assignment(ROOT, chapter) for chapter in specs.CHAPTERS]


@cache
def drawn(chapter: str, seed: int) -> dict[str, list[list[dict[str, Any]]]]:
    """The secret cases of one submission."""
    return grading.draw(next(task for task in tasks() if task.chapter == chapter), seed)


def exercises() -> list[tuple[grading.Assignment, Exercise]]:
    return [(task, Compiled(**vars(exercise))) for task in tasks() for exercise in task.exercises]


def points(task: grading.Assignment, exercise: Exercise, solution: Solution, seed: int) -> list[int]:
    """The points of each property."""
    properties, cases = task.properties[exercise.id], drawn(task.chapter, seed)[exercise.id]
    with _limited(SECONDS):
        function = _defined(solution, exercise.function)
        return [_points(exercise, each, own, function) for each, own in zip(properties, cases, strict=True)]


def full_marks(task: grading.Assignment, exercise: Exercise, solution: Solution, seed: int) -> bool:
    """Whether the grader gives a solution all points; the first case that costs a point decides."""
    properties, cases = task.properties[exercise.id], drawn(task.chapter, seed)[exercise.id]
    with suppress(TooLongError), _limited(SECONDS):
        function = _defined(solution, exercise.function)
        return all(
            _points(exercise, each, [case], function) == each.points
            for each, own in zip(properties, cases, strict=True)
            for case in own
        )
    return False


def _points(exercise: Exercise, each: Property, cases: list[dict[str, Any]], function: Any) -> int:
    """The points of a property, by the code that marks a submission: all of them if each of the cases is right."""
    outcomes = [worker.call(function, case) for case in cases] if callable(function) else None
    answer = {"status": "ok", **codec.unpack(codec.pack({"errors": [], "outcomes": outcomes}))}
    (mark,) = grading.judge(exercise, [each], [cases], answer)
    return mark["points"]


def _defined(solution: Solution, name: str) -> Any:
    """The function that a source defines, or None where it cannot even be defined: as in a student's notebook."""
    if callable(solution):
        return solution
    names: dict[str, Any] = {}
    exec(SETUP, names)
    with suppress(Exception):
        exec(compile(solution, "<solution>", "exec"), names)
    return names.get(name)


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise TooLongError after that much computing, and again shortly after, should somebody catch it."""

    def stop(signum: int, frame: Any) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, 0.2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
