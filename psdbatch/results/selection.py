"""Conditions that choose signals, as users write them: ``label == neutron and amplitude > 500 and not saturated``.

The text is parsed with :mod:`ast` and nothing is evaluated but the few kinds of expression below.  ``&``, ``|`` and ``~``
are read as ``and``, ``or`` and ``not``, as pandas and the users of ROOT do: for bits of ``flags`` there are names.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.columns import Column
from psdbatch.errors import CampaignError, ConfigurationError
from psdbatch.results.calculation import ARITHMETIC, CONSTANT, negative
from psdbatch.results.contents import Contents
from psdbatch.results.selection_hints import number_of, quoting, unknown
from psdbatch.wording import nearest

Array = NDArray[Any]
Values = Mapping[str, Array]

COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
EXAMPLE = "label == neutron and amplitude > 500 and not saturated"


@dataclass(frozen=True)
class Selection:
    """A condition on the signals of a store: its ``text``, the stored columns it ``needs``, and how it is evaluated."""

    text: str
    needs: tuple[str, ...]
    choose: Callable[[Values], NDArray[np.bool_]]


@dataclass(frozen=True)
class _Term:
    """A part of the condition: its value for given columns, and whether that is a truth value.

    ``constant`` tells a number that was written out; ``column`` a column alone, whose dtype comparisons keep.
    """

    value: Callable[[Values], Any]
    truth: bool = False
    constant: bool = False
    column: Column | None = None

    @property
    def condition(self) -> bool:
        """Whether it is a truth value that no column holds as its number."""
        return self.truth and self.column is None


def parse_selection(text: str, contents: Contents) -> Selection:
    """Read a condition.

    Parameters
    ----------
    text
        Comparisons (``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in``, ``not in``, chains like ``2 < x < 3``) of
        columns, numbers and sums, differences, products, quotients and powers of them; names of flags; joined by
        ``and``, ``or``, ``not``.  Classes are written by name where they are compared with ``label``.
    contents
        The store whose columns, flags and classes may be named.

    Raises
    ------
    ConfigurationError
        The text is no condition, or names something that the store does not hold.
    """
    parser = _Parser(text, contents)
    if not text.strip():
        raise parser.error(f"is empty; leave it out for all signals, or write a condition such as {EXAMPLE}")
    try:
        tree = ast.parse(_python(text), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        what = f"cannot be read ({getattr(error, 'msg', error)}); {quoting(text, contents) or f'an example: {EXAMPLE}'}"
        raise parser.error(what) from None
    try:
        term = parser.condition(tree.body)
    except RecursionError:
        raise parser.error("is nested too deeply") from None
    return Selection(text, tuple(dict.fromkeys(parser.needs)), lambda values: np.asarray(term.value(values), np.bool_))


def _python(text: str) -> str:
    """The condition with the words of Python for all logical operators."""
    parts = re.split(r"('[^']*'|\"[^\"]*\")", " ".join(text.split()))
    for k in range(0, len(parts), 2):
        for pattern, word in ((r"&&?", " and "), (r"\|\|?", " or "), (r"~|!(?!=)", " not ")):
            parts[k] = re.sub(pattern, word, parts[k])
    return "".join(parts).strip()


class _Parser:
    """Makes functions of columns from the tree of a condition; ``needs`` collects the stored columns."""

    def __init__(self, text: str, contents: Contents) -> None:
        self.text, self.contents = text, contents
        self.needs: list[str] = []

    def error(self, what: str) -> ConfigurationError:
        return ConfigurationError(f"selection '{self.text}': {what}")

    def condition(self, node: ast.expr) -> _Term:
        """A part that must be true or false."""
        if isinstance(node, ast.BoolOp):
            join = operator.and_ if isinstance(node.op, ast.And) else operator.or_
            terms = [self.condition(value).value for value in node.values]
            return _Term(lambda values: reduce(join, (term(values) for term in terms)), truth=True)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            term = self.condition(node.operand).value
            return _Term(lambda values: ~term(values), truth=True)
        if isinstance(node, ast.Compare):
            return self.comparison(node)
        found = self.term(node)
        if not found.truth:
            raise self.error(
                f"'{ast.unparse(node)}' is a number, not a condition; compare it with something, for example {EXAMPLE}"
            )
        return found

    def comparison(self, node: ast.Compare) -> _Term:
        sides = [node.left, *node.comparators]
        words = self.words(sides)
        tests = [
            self.membership(left, right, words, isinstance(op, ast.NotIn))
            if isinstance(op, (ast.In, ast.NotIn))
            else self.pair(COMPARISONS.get(type(op)), left, right, words, node)
            for op, left, right in zip(node.ops, sides[:-1], sides[1:], strict=True)
        ]
        return _Term(lambda values: reduce(operator.and_, (test(values) for test in tests)), truth=True)

    def words(self, sides: list[ast.expr]) -> dict[str, int]:
        """Names of values that may be written in this comparison, because a column with such names is compared."""
        found: dict[str, int] = {}
        for side in sides:
            if isinstance(side, ast.Name) and side.id in self.contents.columns:
                found |= self.contents.words(side.id)
        return found

    def pair(
        self,
        compare: Callable[[Any, Any], Any] | None,
        left: ast.expr,
        right: ast.expr,
        words: dict[str, int],
        node: ast.expr,
    ) -> Callable[[Values], Any]:
        if compare is None:
            raise self.error(f"'{ast.unparse(node)}': 'is' cannot be used here; write ==")
        one, other = self.term(left, words), self.term(right, words)
        if one.constant and other.constant:
            raise self.error(f"'{ast.unparse(node)}' compares two numbers, and no column")
        self.check_truth((left, one), (right, other))
        return lambda values: compare(one.value(values), other.value(values))

    def membership(
        self, left: ast.expr, right: ast.expr, words: dict[str, int], negated: bool
    ) -> Callable[[Values], Any]:
        if not isinstance(right, (ast.Tuple, ast.List, ast.Set)) or not right.elts:
            raise self.error(f"behind 'in' stands a list, for example 'channel in (1, 2)', not '{ast.unparse(right)}'")
        given, choices = self.term(left, words), [self.term(choice, words) for choice in right.elts]
        if given.constant or not all(choice.constant for choice in choices):
            raise self.error(
                f"'{ast.unparse(left)} in {ast.unparse(right)}': a column stands before 'in', numbers behind it"
            )
        self.check_truth((left, given), *zip(right.elts, choices, strict=True))
        wanted = [choice.value({}) for choice in choices]

        def found(values: Values) -> Any:
            value = given.value(values)
            inside = reduce(operator.or_, (value == number for number in wanted))
            return ~inside if negated else inside

        return found

    def check_truth(self, *compared: tuple[ast.expr, _Term]) -> None:
        """Refuse conditions compared with anything but conditions, 0 and 1: ``flags == saturated`` would mean ``flags == 1``."""
        conditions = [node for node, term in compared if term.condition]
        if conditions and not all(
            term.condition or (term.constant and term.value({}) in (0, 1)) for _, term in compared
        ):
            text = ast.unparse(conditions[0])
            raise self.error(f"'{text}' is a condition, which is true or false; write it alone, or 'not {text}'")

    def term(self, node: ast.expr, words: Mapping[str, int] | None = None) -> _Term:
        """A number, a column, or a calculation with them."""
        if isinstance(node, ast.Name):
            return self.name(node.id, words or {})
        if isinstance(node, ast.Constant):
            return self.constant(node.value, words or {})
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            if isinstance(node.op, ast.UAdd):
                return self.calculation(operator.pos, operator.pos, node, node.operand)
            return self.calculation(negative, operator.neg, node, node.operand)
        if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
            kind = type(node.op)
            return self.calculation(ARITHMETIC[kind], CONSTANT[kind], node, node.left, node.right)
        if isinstance(node, (ast.BoolOp, ast.Compare)) or (
            isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        ):
            return self.condition(node)
        raise self.error(
            f"'{ast.unparse(node)}' cannot be used here; {number_of(node, self.contents) or f'an example: {EXAMPLE}'}"
        )

    def name(self, name: str, words: Mapping[str, int]) -> _Term:
        if name in words and not (name in self.contents.columns and self.contents.words(name)):  # else quoted: 'label'
            return _Term(lambda _, number=words[name]: number, constant=True)  # type: ignore[misc]
        if name in self.contents.names:
            return self.column(name)
        if name in self.contents.flags:
            column, mask = self.contents.flags[name]
            self.needs.append(column)
            return _Term(lambda values: (values[column] & values[column].dtype.type(mask)) != 0, truth=True)
        raise self.error(unknown(name, self.contents))

    def column(self, name: str) -> _Term:
        quantity = self.contents.quantity(name)
        if quantity.column.shape:
            numbers = [number.name for number in self.contents.numbers(name)]
            raise self.error(f"'{name}' is several numbers per signal; name one of them: {', '.join(numbers)}")
        self.needs += quantity.needs
        return _Term(quantity.compute, truth=quantity.column.dtype == "bool", column=quantity.column)

    def constant(self, value: Any, words: Mapping[str, int]) -> _Term:
        if isinstance(value, str):
            spaced = {re.sub(r"\s+", "_", word): number for word, number in words.items()}
            number = words.get(value, spaced.get(re.sub(r"\s+", "_", value)))
            if number is None:
                raise self.error(f"'{value}' is no value that has a name here{nearest(value, words)}")
            value = number
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.error(
                f"'{value!r}' is not a number; flags are written by name, as in 'saturated' or 'not saturated'"
            )
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**64:
            value = int(value)  # 1.5e12 compared with whole numbers is compared exactly
        return _Term(lambda _: value, constant=True)

    def calculation(
        self, calculate: Callable[..., Any], of_constants: Callable[..., Any], node: ast.expr, *operands: ast.expr
    ) -> _Term:
        terms = [self.term(operand) for operand in operands]
        for term, operand in zip(terms, operands, strict=True):
            if term.condition:
                raise self.error(f"'{ast.unparse(operand)}' is a condition, not a number")
        if all(term.constant for term in terms):
            try:
                with np.errstate(all="ignore"):
                    number = _plain(of_constants(*(term.value({}) for term in terms)))
            except (ArithmeticError, ValueError) as error:
                raise self.error(f"'{' '.join(ast.unparse(operand) for operand in operands)}': {error}") from None
            return _Term(lambda _: number, constant=True)
        too_large = (
            f"selection '{self.text}': '{ast.unparse(node)}' holds a whole number beyond 2**63, which cannot be calculated with; "
            "compare it alone, or begin with '1.0 *' to calculate in double precision"
        )
        try:  # what was written out must fit, whatever the columns hold
            calculate(*(term.value({}) if term.constant else np.zeros(0) for term in terms))
        except OverflowError:
            raise ConfigurationError(too_large) from None

        def value(values: Values) -> Any:
            with np.errstate(all="ignore"):  # divisions by zero give infinity or NaN, which no comparison takes
                try:
                    return calculate(*(term.value(values) for term in terms))
                except OverflowError:
                    raise CampaignError(too_large) from None

        return _Term(value)


def _plain(value: Any) -> Any:
    """A calculated number as one that was written: exact where it is whole."""
    number = value.item() if isinstance(value, np.generic) else value
    return int(number) if isinstance(number, float) and number.is_integer() and abs(number) < 2**64 else number
