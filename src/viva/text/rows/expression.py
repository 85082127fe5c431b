"""A closed, safe piece of Python: expressions that are checked node by node before the interpreter runs them.

Numbers, short strings, lists, tuples and dicts of them; arithmetic without powers; comparisons, `and`, `or`, `not`,
`if`-`else`; indexing and slicing; a few functions and string methods, called by name. No other name or attribute
can be written, nothing can loop or grow without bound, and there are no builtins behind it.
"""

import ast
from typing import Any

from viva.base.errors import Refusal

FUNCTIONS = {function.__name__: function for function in (abs, bool, len, max, min, sorted, sum)}
METHODS = {"capitalize", "count", "endswith", "find", "lower", "startswith", "swapcase", "upper"}
OPERATORS = (
    ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, ast.UAdd, ast.USub, ast.Not, ast.And, ast.Or,
    ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn,
)  # fmt: skip
NODES = (
    ast.Expression, ast.Constant, ast.Name, ast.Load, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp,
    ast.List, ast.Tuple, ast.Dict, ast.Subscript, ast.Slice, ast.Call, ast.Attribute, *OPERATORS,
)  # fmt: skip
LONGEST = 120  # characters of an expression
LARGEST = 10_000  # of a number written in it

GRAMMAR = "use numbers, strings, lists, dicts, operators, " + ", ".join([*FUNCTIONS, *sorted(METHODS)])


def evaluate(expression: str) -> Any:
    """The value of an expression; one outside of the grammar, or without a value, is refused."""
    code = compile(checked(expression), "<expression>", "eval")
    try:
        return eval(code, {"__builtins__": {}}, dict(FUNCTIONS))  # every node of it was checked
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise Refusal(f"{expression!r} must have a value", f"{type(error).__name__}: {error}", GRAMMAR) from None


def verify(expression: str, answer: str) -> bool:
    """Whether `answer` is what the interpreter prints for `expression`, space around it aside."""
    return answer.strip() == repr(evaluate(expression))


def checked(expression: str) -> ast.Expression:
    """The syntax tree of an expression in which every node is allowed."""
    if len(expression) > LONGEST:
        raise Refusal(f"an expression must have at most {LONGEST} characters", len(expression), GRAMMAR)
    try:
        tree = ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Refusal("a task must be a Python expression", f"{expression!r}: {error}", GRAMMAR) from None
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if not _allowed(node, id(node) in called):
            found = f"{type(node).__name__} in {expression!r}"
            raise Refusal("an expression must stay inside the safe grammar", found, GRAMMAR)
    return tree


def _allowed(node: ast.AST, called: bool) -> bool:
    """Whether a node may stand where it stands; names and attributes only to be called."""
    match node:
        case ast.Name():
            return called and node.id in FUNCTIONS
        case ast.Attribute():
            return called and node.attr in METHODS
        case ast.Call():
            return isinstance(node.func, ast.Name | ast.Attribute) and not node.keywords
        case ast.Dict():
            return None not in node.keys  # {**other}
        case ast.Constant():
            number = isinstance(node.value, int) and abs(node.value) <= LARGEST
            return number or isinstance(node.value, str)
        case ast.BinOp(op=ast.Mult()):  # a product of lists or strings could grow without bound
            return all(
                isinstance(side, ast.Constant) and isinstance(side.value, int) for side in (node.left, node.right)
            )
        case ast.BinOp(op=ast.Mod()):  # so could "%9999d" % 1
            return isinstance(node.left, ast.Constant) and isinstance(node.left.value, int)
    return isinstance(node, NODES)
