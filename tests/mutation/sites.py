"""Finds, in C++ sources, the places where a backward computes, and rewrites them so that one of them can be switched wrong.

Not a C++ parser: it knows the C++ of our kernels (statements, arithmetic, calls, lambdas, templates) well enough to wrap the
terms of an expression. What it wraps too much (integers, shapes) the compiler sorts out: see mutant.h.
"""

import re
from dataclasses import dataclass, field

TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/|^[ \t]*\#[^\n]*(?:\\\n[^\n]*)*)
      |(?P<number>(?:0x[0-9a-fA-F.]+(?:p[+-]?\d+)?|\d[\d']*\.?\d*(?:[eE][+-]?\d+)?|\.\d+)[uUlLfF]*)
      |(?P<name>[A-Za-z_]\w*)
      |(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
      |(?P<op>->|\+\+|--|\+=|-=|\*=|/=|%=|&=|\|=|<=|>=|==|!=|&&|\|\||::|\.\.\.|.)""",
    re.X | re.S | re.M)

OPENS, CLOSES = "([{", ")]}"
NOT_CALLS = {"if", "for", "while", "switch", "return", "sizeof", "catch", "constexpr", "alignof", "decltype", "operator"}


@dataclass
class Token:
    text: str
    kind: str
    begin: int
    end: int


class Source:
    """The tokens of a file, with partners of brackets."""

    def __init__(self, path, text):
        self.path, self.text = path, text
        self.tokens = [Token(m.group(), m.lastgroup, m.start(), m.end())
                       for m in TOKEN.finditer(text) if m.lastgroup != "space"]
        self.partner, stack = {}, []
        for i, token in enumerate(self.tokens):
            if token.kind != "op":
                continue
            if token.text in OPENS:
                stack.append(i)
            elif token.text in CLOSES and stack:
                j = stack.pop()
                self.partner[i], self.partner[j] = j, i

    def at(self, i):
        return self.tokens[i].text if 0 <= i < len(self.tokens) else ""

    def line(self, i):
        return self.text.count("\n", 0, self.tokens[i].begin) + 1

    def code(self, begin, end):
        return " ".join(self.text[self.tokens[begin].begin:self.tokens[end - 1].end].split())

    def template_end(self, i):
        """The token behind <…> if tokens[i] opens template arguments, else None."""
        depth, j = 0, i - 1
        while (j := j + 1) < min(i + 40, len(self.tokens)):
            text, kind = self.at(j), self.tokens[j].kind
            if text == "decltype":
                j = self.partner[j + 1]
            elif text == "<":
                depth += 1
            elif text == ">":
                depth -= 1
                if depth == 0:
                    return j + 1 if self.at(j + 1) in ("(", "{", "::") or self.tokens[j + 1].kind == "name" else None
            elif not (kind in ("name", "number") or text in ("::", ",", "*", "&", "...")):
                return None
        return None


@dataclass
class Function:
    source: Source
    name: str
    owner: str       # the class or struct around it, or ""
    begin: int       # of the parameters
    body: tuple      # token range of the body, braces excluded


def functions_of(source):
    """Definitions at namespace and class scope."""
    found = []

    def name_before(close):
        """(name, index of the opening parenthesis) of the parameter list that ends at `close`."""
        opened = source.partner.get(close)
        if opened is None or source.at(close) != ")" or source.tokens[opened - 1].kind != "name":
            return None
        return source.at(opened - 1), opened

    def header(brace):
        close = brace - 1
        while source.at(close) in ("const", "noexcept", "override"):
            close -= 1
        if source.at(close) == "}" and source.at(source.partner[close]) == "{":  # a member's initialiser {…}
            pass
        while True:
            named = name_before(close)
            if named is None or named[0] in NOT_CALLS:
                return None
            name, opened = named
            before = source.at(opened - 2)
            if before in (",", ":") and source.at(opened - 2) != "::":  # a constructor's list of members
                close = opened - 3
                if before == ",":
                    continue
                while source.at(close) in ("const", "noexcept"):
                    close -= 1
                return name_before(close)
            return named

    def walk(i, end, owner):
        start = i
        while i < end:
            text = source.at(i)
            if text == ";":
                start = i + 1
            elif text in "([":
                i = source.partner[i]
            elif text == "{":
                close = source.partner[i]
                words = [source.at(j) for j in range(start, i)]
                named = header(i)
                if named and "(" in words:
                    found.append(Function(source, named[0], owner, named[1], (i + 1, close)))
                elif {"namespace", "class", "struct"} & set(words):
                    key = next((words.index(w) for w in ("struct", "class") if w in words), None)
                    inner = owner if key is None else words[key + 1]
                    walk(i + 1, close, inner)
                i = close
                start = i + 1
            i += 1

    walk(0, len(source.tokens), "")
    return found


def lambda_at(source, i):
    """(begin of the parameters or None, body range) if tokens[i] = "[" begins a lambda."""
    if source.at(i) != "[":
        return None
    before = source.tokens[i - 1] if i else None
    if before and (before.kind in ("name", "number") and before.text not in ("return",) or before.text in (")", "]")):
        return None
    j = source.partner[i] + 1
    if source.at(j) == "<":
        j = source.template_end(j) or j
    parameters = None
    if source.at(j) == "(":
        parameters = j
        j = source.partner[j] + 1
    while source.at(j) in ("mutable", "noexcept"):
        j += 1
    if source.at(j) != "{":
        return None
    return parameters, (j + 1, source.partner[j])


def backward_closures(source, begin, end):
    """Bodies of the lambdas in a range that take Needs: what record() is given."""
    for i in range(begin, end):
        found = lambda_at(source, i)
        if found and found[0] is not None:
            if "Needs" in (source.at(j) for j in range(found[0], source.partner[found[0]])):
                yield i, found[1]


def calls_in(source, begin, end, methods=True):
    """Names that are called in a range."""
    names = set()
    for i in range(begin, end):
        if source.tokens[i].kind != "name" or source.at(i) in NOT_CALLS:
            continue
        if not methods and source.at(i - 1) in (".", "->"):
            continue
        j = i + 1
        if source.at(j) == "<":
            j = source.template_end(j) or j
        if source.at(j) in ("(", "{") or source.tokens[j].kind == "name":
            names.add(source.at(i))
        elif source.at(i - 1) in ("?", ":", "=", ",") and source.at(j) in (":", ";", "<", ","):
            names.add(source.at(i))  # a function by its name: log ? a_row<A> : b_row<A>
    return names


# ---- expressions ---------------------------------------------------------------------------------

@dataclass
class Node:
    kind: str            # sum product unary choice call paren braces lambda leaf other
    begin: int
    end: int
    parts: list = field(default_factory=list)
    operators: list = field(default_factory=list)


class Parser:
    LEVELS = (("||",), ("&&",), ("|",), ("^",), ("&",), ("==", "!="), ("<", ">", "<=", ">="), ("+", "-"), ("*", "/", "%"))

    def __init__(self, source, begin, end):
        self.s, self.i, self.end = source, begin, end

    def text(self):
        return self.s.at(self.i) if self.i < self.end else ""

    def expression(self):
        begin = self.i
        condition = self.binary(0)
        if self.text() != "?":
            return condition
        self.i += 1
        yes = self.expression()
        self.i += 1  # the colon
        no = self.expression()
        return Node("choice", begin, self.i, [yes, no])

    def binary(self, level):
        if level == len(self.LEVELS):
            return self.unary()
        begin, first = self.i, self.binary(level + 1)
        parts, operators = [first], []
        while self.text() in self.LEVELS[level] and self.text():
            if self.text() in ("<", ">") and self.s.at(self.i + 1) in ("<", ">", "="):
                break
            operators.append(self.text())
            self.i += 1
            parts.append(self.binary(level + 1))
        if len(parts) == 1:
            return first
        kind = {7: "sum", 8: "product"}.get(level, "other")
        return Node(kind, begin, self.i, parts, operators)

    def unary(self):
        begin = self.i
        if self.text() in ("-", "+", "!", "*", "&", "++", "--"):
            operator = self.text()
            self.i += 1
            inner = self.unary()
            return Node("unary" if operator == "-" else "other", begin, self.i, [inner])
        return self.postfix()

    def postfix(self):
        begin, text = self.i, self.text()
        node = Node("leaf", begin, begin)
        if text == "(":
            close = self.s.partner[self.i]
            node = Node("paren", begin, close + 1, [Parser(self.s, self.i + 1, close).expression()])
            self.i = close + 1
        elif text == "[":
            found = lambda_at(self.s, self.i)
            if not found:
                raise SyntaxError("[")
            self.i = found[1][1] + 1
            node = Node("lambda", begin, self.i)
        elif text == "{":
            self.i = self.s.partner[self.i] + 1
            node = Node("braces", begin, self.i, self.arguments(begin))
        elif self.i < self.end and self.s.tokens[self.i].kind in ("name", "number", "text"):
            self.i += 1
        else:
            raise SyntaxError(text)
        while self.i < self.end:
            text = self.text()
            if text == "::" or text in (".", "->"):
                self.i += 1
                while self.text() in ("template", "operator"):
                    self.i += 1
                if self.text() == "(" and self.s.at(self.i - 1) == "operator":
                    self.i += 2
                elif self.i < self.end and self.s.tokens[self.i].kind == "name":
                    self.i += 1
                node = Node("leaf", begin, self.i, node.parts)
            elif text == "<" and (behind := self.s.template_end(self.i)):
                self.i = behind
            elif text in ("(", "{"):
                opened = self.i
                self.i = self.s.partner[opened] + 1
                node = Node("call", begin, self.i, node.parts + self.arguments(opened))
            elif text == "[":
                self.i = self.s.partner[self.i] + 1
                node = Node("leaf", begin, self.i, node.parts)
            elif text in ("++", "--"):
                self.i += 1
                node = Node("other", begin, self.i)
            else:
                break
        node.begin, node.end = begin, self.i
        return node

    def arguments(self, opened):
        close, parts = self.s.partner[opened], []
        inner = Parser(self.s, opened + 1, close)
        while inner.i < close:
            if inner.text() == ".":  # .member = value
                inner.i += 3
            parts.append(inner.expression())
            if inner.text() not in (",", ""):
                raise SyntaxError(inner.text())
            inner.i += 1
        return parts


# ---- sites ---------------------------------------------------------------------------------------

PER_FILE = 512  # sites that a file may have
TERM, FACTOR, STATEMENT = "term", "factor", "statement"
KINDS = {TERM: ("sign", "factor", "dropped term"), FACTOR: ("dropped factor",), STATEMENT: ("dropped statement",)}
INTEGERS = {"int64_t", "size_t", "int", "bool", "uint32_t", "int32_t", "uint64_t", "Shape", "Strides", "DType", "char"}
ZERO = re.compile(r"(?:\w+\((?:0|0\.0)\)|0|0\.0f?|\w+\{\}|\{\}|Tensor\(\)|nullptr|true|false|T\{\})$")
FRESH = re.compile(r"Tensor::(?:empty|zeros)\(")  # nothing is in it yet
ONE = re.compile(r"(?:\w+\((?:1|1\.0)\)|1|1\.0f?)$")


@dataclass
class Site:
    number: int
    source: Source
    kinds: set
    begin: int
    end: int

    def place(self):
        return f"{self.source.path}:{self.source.line(self.begin)}"


class Sites:
    """All sites of the functions given, each token range once."""

    def __init__(self):
        self.list, self.by_range, self.first_of = [], {}, {}

    def add(self, source, begin, end, kind):
        code = source.code(begin, end)
        if ZERO.match(code) or kind == FACTOR and ONE.match(code) or FRESH.match(code):
            return
        key = (source.path, begin, end, kind == STATEMENT)
        if key not in self.by_range:
            # A file's numbers do not depend on other files: what is compiled stays compiled.
            self.first_of.setdefault(source.path, (len(self.first_of) + 1) * PER_FILE)
            number = self.first_of[source.path]
            self.first_of[source.path] += 1
            self.by_range[key] = Site(number, source, set(), begin, end)
            self.list.append(self.by_range[key])
        self.by_range[key].kinds.add(kind)

    # A whole value: its sign, a factor, all of it; then the terms and factors that it is made of.
    def value(self, source, node):
        text = source.at(node.begin)
        if node.kind in ("lambda", "other"):
            return
        if node.kind in ("braces",) or node.kind == "call" and text == "Tensors":
            for part in node.parts:
                self.value(source, part)
            return
        if node.kind == "call" and text == "static_cast" and len(node.parts) == 1:
            return self.value(source, node.parts[0])
        if node.kind == "paren":
            return self.value(source, node.parts[0])
        self.add(source, node.begin, node.end, TERM)
        self.inside(source, node)

    def inside(self, source, node):
        if node.kind == "sum":
            for part in node.parts:
                self.add(source, part.begin, part.end, TERM)
        elif node.kind == "product" and "%" not in node.operators:
            for part in node.parts:
                self.add(source, part.begin, part.end, FACTOR)
        elif node.kind == "choice":
            for part in node.parts:
                self.value(source, part)
            return
        elif node.kind in ("other", "lambda", "product") and (node.kind != "product"):
            return
        for part in node.parts:
            self.inside(source, part)

    def function(self, source, begin, end):
        """The statements of a body."""
        i, start = begin, begin
        while i < end:
            text = source.at(i)
            if text in ("for", "while", "if", "switch"):
                j = i + 1
                while source.at(j) != "(":
                    j += 1
                i = source.partner[j] + 1
                start = i
                continue
            if text in (";", "{", "}", "else"):
                i += 1
                start = i
                continue
            if text == "using":
                while source.at(i) != ";":
                    i += 1
                continue
            if text == "[" and (found := lambda_at(source, i)):
                i = found[1][0]
                start = i
                continue
            if text == "return" and source.at(i + 1) != ";":
                self.right_side(source, i + 1, end, TERM)
            elif text in ("=", "+=", "-=", "*=", "/=") and not self.skipped(source, start, i):
                self.right_side(source, i + 1, end, FACTOR if text in ("*=", "/=") else TERM)
            elif i == start:
                self.call_statement(source, i, end)
            i += 1

    def skipped(self, source, start, i):
        if source.at(i - 2) == "&" or source.at(i - 2) == "*" and source.at(i - 3) in ("const", "T", "A", "char"):
            return True  # a reference or a pointer is bound
        words = [source.at(j) for j in range(start, i)]
        return "constexpr" in words or bool(INTEGERS & set(words[:3]))

    def right_side(self, source, begin, end, kind):
        try:
            node = Parser(source, begin, end).expression()
        except (SyntaxError, KeyError):
            return
        if kind == FACTOR:
            self.add(source, node.begin, node.end, FACTOR)
            self.inside(source, node)
        else:
            self.value(source, node)

    def call_statement(self, source, i, end):
        if source.tokens[i].kind != "name" or source.at(i) in ("check", "parallel_for", "fail", "return", "static_assert"):
            return
        parser = Parser(source, i, end)
        try:
            node = parser.expression()
        except (SyntaxError, KeyError):
            return
        if node.kind != "call" or source.at(parser.i) != ";" or not node.parts:
            return
        if any(lambda_at(source, j) for j in range(node.begin, node.end)):
            return
        self.add(source, node.begin, parser.i + 1, STATEMENT)


def rewritten(source, sites):
    """The text of the file with every site wrapped."""
    inserts = []  # (position, rank, text): closings before openings, inner closings first, outer openings first
    for site in sites:
        begin, end = source.tokens[site.begin].begin, source.tokens[site.end - 1].end
        if STATEMENT in site.kinds:
            # In braces: an `else` may follow.
            inserts.append((begin, 1, -end, f"{{ if (!::ocellus::mutation::dropped({site.number})) "))
            inserts.append((end, 0, -begin, " }"))
        else:
            inserts.append((begin, 1, -end, f"::ocellus::mutation::at<{site.number}>("))
            inserts.append((end, 0, -begin, ")"))
    out, last = [], 0
    for position, _, _, text in sorted(inserts):
        out += [source.text[last:position], text]
        last = position
    out.append(source.text[last:])
    return "".join(out)
