#!/usr/bin/env python3
"""Writes what Jinja, set up as transformers does it, makes of templates: tests/data/jinja_golden.jsonl.

    make_jinja_golden.py                     the golden file (needs jinja2 and transformers)
    make_jinja_golden.py --fuzz N SEED FILE  N random templates instead; then
        OCELLUS_JINJA_GOLDEN=FILE build/cpu/ocellus_tests -tc="jinja: agrees with Jinja*"

The first line has lists, "templates" and "contexts"; each other line {"template", "context", "rendered" or
"error"}, where a number points into a list. strftime_now tells NOW.
"""
import copy
import datetime
import json
import os
import random
import sys

os.environ["TZ"] = "UTC"
from transformers.utils import chat_template_utils  # noqa: E402

from jinja_templates import FAMILIES, SNIPPETS  # noqa: E402

NOW = 1720526400  # 2024-07-09 12:00 UTC, in every zone the same day


def compiled(source):
    template = chat_template_utils._cached_compile_jinja_template(source)
    template.environment.globals["strftime_now"] = lambda f: datetime.datetime.fromtimestamp(NOW).strftime(f)
    template.globals["strftime_now"] = template.environment.globals["strftime_now"]
    return template


def result(source, context):
    try:
        text = compiled(source).render(**copy.deepcopy(context))  # indent of a list changes it
        text.encode()
        return {"rendered": text}
    except Exception as e:  # noqa: BLE001: any failure is a result here
        return {"error": f"{type(e).__name__}: {e}"[:200]}


class Golden:
    def __init__(self, path, contexts, templates=()):
        self.contexts, self.templates = list(contexts), list(templates)
        self.out = open(path, "w")
        self.write({"contexts": self.contexts, "templates": self.templates})

    def write(self, record):
        self.out.write(json.dumps(record, ensure_ascii=False) + "\n")

    def add(self, template, context):
        """`template`: text, or a number of the list. An address in the result is nothing to compare."""
        source = self.templates[template] if isinstance(template, int) else template
        got = result(source, self.contexts[context])
        if " at 0x" in str(got):
            return False
        self.write({"template": template, "context": context, **got})
        return True


# ---- conversations for the families ------------------------------------------------------------------

TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "Weather of a city <now> & \"later\".",
        "parameters": {"type": "object", "properties": {
            "city": {"type": "string", "description": "The city"},
            "unit": {"type": ["string", "null"], "enum": ["celsius", "fahrenheit"]},
            "days": {"type": "array", "items": {"type": "integer"}},
            "where": {"type": "object", "properties": {"lat": {"type": "number", "default": 1.5}}}},
            "required": ["city"]}}},
    {"type": "function", "function": {"name": "noop", "description": "", "parameters": {"type": "object", "properties": {}}}},
]
CALL = {"role": "assistant", "content": "", "tool_calls": [
    {"id": "abc123def", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Köln", "days": [1, 2], "ok": True, "x": None}}}]}
PICTURE = {"type": "image"}


def text(t):
    return {"type": "text", "text": t}


CONVERSATIONS = [
    [{"role": "user", "content": "What is in the picture?"}],
    [{"role": "system", "content": " You see images.\n"}, {"role": "user", "content": "  Q1 "}, {"role": "assistant", "content": "A1"},
     {"role": "user", "content": "Q2\n\nmore"}, {"role": "assistant", "content": " A2 \n"}],
    [{"role": "system", "content": ""}, {"role": "user", "content": ""}],
    [{"role": "user", "content": "Ünï 你好 🙂 <b> & ' \" \\ \u2028"}, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nDone."}, {"role": "user", "content": "x"}],
    [{"role": "assistant", "content": "first"}, {"role": "user", "content": "second"}],
    [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
    [{"role": "critic", "content": "bad"}],
    [{"role": "user", "content": "Weather?"}, CALL, {"role": "tool", "name": "get_weather", "tool_call_id": "abc123def", "content": "{\"t\": 21.5}"}, {"role": "assistant", "content": "21.5"}],
    [{"role": "user", "content": [PICTURE, text("What is this?")]}, {"role": "assistant", "content": [text("A cat.")]}, {"role": "user", "content": [text("Sure? "), PICTURE, text("And this?")]}],
    [{"role": "system", "content": [text("Be brief.")]}, {"role": "user", "content": [text("Hi")]}],
]
VARIABLES = [
    {"add_generation_prompt": True},
    {},
    {"tools": TOOLS, "add_generation_prompt": True},
    {"enable_thinking": False, "add_generation_prompt": True, "date_string": "26 Jul 2024", "documents": [{"title": "T", "text": "body\nline"}]},
]


TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "tools": None, "documents": None, "add_generation_prompt": False}
FAMILY_CONTEXTS = [{**TOKENS, **v, "messages": m} for m in CONVERSATIONS for v in VARIABLES]


SNIPPET_CONTEXT = {
    "s": "Hello, World", "e": "", "u": "straße ÇELİK ΣΑΣ ŉ ﬁ 你好 🙂", "w": "  two  words\t\n", "n": 7, "z": 0, "neg": -3, "f": 2.5, "big": 1e20, "small": 1e-7,
    "yes": True, "no": False, "nil": None, "l": [3, 1, 2], "ls": ["b", "A", "c", "a"], "le": [], "d": {"b": 1, "a": [1, 2], "C": None}, "de": {},
    "rows": [{"name": "x", "v": 2, "t": {"k": "q"}}, {"name": "Y", "v": 1}, {"name": "x", "v": 3, "t": {"k": None}}], "nest": [[1, 2], [3, [4, 5]]],
    "text": "line one\nline two\n\nline four", "quote": "it's \"q\"", "html": "<a href='x'>&</a>", "num": "42", "flt": " 3.75 ", "mixed": [1, "1", 1.0, True, None],
    "messages": CONVERSATIONS[1],
}


# ---- random templates --------------------------------------------------------------------------------

class Fuzz:
    NAMES = [k for k in SNIPPET_CONTEXT if k != "messages"] + ["missing", "messages"]
    FILTERS0 = ("upper lower title capitalize trim length list first last string int float abs sum join sort unique reverse "
                "items dictsort tojson safe e min max round wordcount default count d map select reject").split()
    TESTS0 = "defined undefined none string mapping sequence iterable number boolean true false integer float odd even lower upper callable escaped".split()
    METHODS0 = ("strip lstrip rstrip split rsplit splitlines upper lower title capitalize swapcase isdigit isalpha isspace isupper islower "
                "istitle isalnum isdecimal isascii items keys values copy").split()

    def __init__(self, seed):
        self.r = random.Random(seed)

    def pick(self, *choices):
        return self.r.choice(choices)

    def literal(self):
        r = self.r
        return self.pick(
            str(r.randint(-5, 12)), str(r.randint(0, 3)), repr(r.choice([0.5, 1.0, 2.25, 1e16, 1e15, 123456.789, 1e-5, 3.0])),
            repr(r.choice(["", "a", "o", "l", ",", " ", "ab", "Hello", "\n", "é", "x_y-z", "{}", "%s", "1", "2.5", "name", "<&>"])),
            "true", "false", "none", "True", "None", "[1, 2, 3]", "['a', 'b']", "{'k': 1}", "{'a': 'x', 'b': [1]}", "()", "(1,)", "(1, 'b')", "[]", "{}", "range(4)")

    def atom(self):
        return self.pick(self.literal(), self.r.choice(self.NAMES), self.r.choice(self.NAMES))

    def args(self, depth, most=2):
        return ", ".join(self.expr(depth - 2) for _ in range(self.r.randint(0, most)))

    def filter(self, depth):
        r = self.r
        e = lambda: self.expr(depth - 2)  # noqa: E731
        return self.pick(
            r.choice(self.FILTERS0), r.choice(self.FILTERS0),
            f"default({e()})", f"default({e()}, true)", f"join({e()})", f"join(', ', attribute='name')", f"replace({e()}, {e()})", f"replace('l', 'L', 1)",
            "tojson(indent=2)", "tojson(indent=4, ensure_ascii=true)", "tojson(separators=(',', ':'))", "tojson(sort_keys=true)", f"round({r.randint(-2, 3)})",
            f"round({r.randint(0, 2)}, {r.choice(['ceil', 'floor', 'common'])!r})", "map(attribute='name')|list", "map('upper')|list", "map('string')|join('-')",
            "map(attribute='t.k', default='D')|list", "selectattr('t')|list", "selectattr('name', 'equalto', 'x')|list", "rejectattr('t', 'defined')|list",
            "select('string')|list", "reject('none')|list", "select('gt', 1)|list", "selectattr('v', '>=', 2)|map(attribute='name')|join(',')", "sort(reverse=true)",
            "sort(attribute='v')", "sort(case_sensitive=true)", "sort(attribute='name,v')", "unique|list", "unique(attribute='name')|list", "reverse|list", "batch(2)|list", "batch(2, 'x')|list", "slice(2)|list",
            "dictsort(by='value')", "dictsort(reverse=true)", "items|list", "groupby('name')", "sum(attribute='v')", "sum(start=1)", f"int({e()})", "int(0, 16)", f"float({e()})",
            f"indent({r.randint(0, 4)})", "indent(2, true)", "indent('> ', blank=true)", f"truncate({r.randint(3, 9)})", "truncate(6, true, '')", "truncate(5, leeway=0)", "center(11)", "trim('H d')", f"attr({e()})",
            "format(1, 'x')", "urlencode", "first", "last", "min(attribute='v')", "max(attribute='name')", "wordcount", "filesizeformat", "forceescape", f"abs", "string|length")

    def test(self, depth):
        e = lambda: self.expr(depth - 2)  # noqa: E731
        return self.pick(self.r.choice(self.TESTS0), self.r.choice(self.TESTS0), f"equalto({e()})", f"eq({e()})", f"ne({e()})", f"gt({e()})", f"lessthan({e()})", f"in({e()})", f"in {self.atom()}",
                         f"divisibleby({e()})", "divisibleby 2", "sameas(true)", "sameas none", f"ge({e()})", "filter", "test")

    def method(self, depth):
        e = lambda: self.expr(depth - 2)  # noqa: E731
        r = self.r
        return self.pick(
            f"{r.choice(self.METHODS0)}()", f"{r.choice(self.METHODS0)}()", f"split({e()})", f"split(' ', {r.randint(-1, 2)})", f"rsplit({e()}, 1)", f"split(None, {r.randint(0, 2)})", f"startswith({e()})", f"endswith(('d', {e()}))",
            f"replace({e()}, {e()})", f"replace('o', '0', {r.randint(-1, 2)})", f"join({e()})", f"find({e()})", f"rfind('l', {r.randint(-4, 6)})", f"count({e()})", f"index({e()})", f"strip({e()})", f"lstrip('H ')", f"rstrip('d')", "partition(' ')",
            "rpartition('l')", f"format({self.args(depth, 3)})", f"format(1, a='b')", f"get({e()})", f"get('a', {e()})", f"zfill({r.randint(0, 9)})", f"ljust({r.randint(0, 14)}, '.')", "rjust(14)", f"center({r.randint(5, 16)})", "removeprefix('He')", "removesuffix('ld')", "splitlines(true)", f"expandtabs({r.randint(0, 5)})")

    def subscript(self, depth):
        r = self.r
        i = lambda: self.pick("", str(r.randint(-4, 4)))  # noqa: E731
        return self.pick(f"[{r.randint(-4, 4)}]", f"[{i()}:{i()}]", f"[{i()}:{i()}:{r.choice([-2, -1, 1, 2, 3])}]", f"[{self.expr(depth - 2)}]", "['a']", "['name']", "['items']", f".{r.choice(['a', 'b', 'name', 'v', 'items', 'keys', 'x', 'update', 'append', '0', '1'])}")

    def expr(self, depth):
        r = self.r
        if depth <= 0:
            return self.atom()
        e = lambda: self.expr(depth - 1)  # noqa: E731
        k = r.random()
        if k < 0.12:
            return self.atom()
        if k < 0.34:
            return f"{self.wrapped(depth)}|{self.filter(depth)}"
        if k < 0.42:
            return f"{self.wrapped(depth)} is {self.pick('', 'not ')}{self.test(depth)}"
        if k < 0.54:
            return f"{self.wrapped(depth)}.{self.method(depth)}"
        if k < 0.64:
            return f"{self.wrapped(depth)}{self.subscript(depth)}"
        if k < 0.76:
            return f"({e()}) {self.pick('+', '-', '*', '/', '//', '%', '**', '~', '~', '+')} ({e()})"
        if k < 0.84:
            return f"({e()}) {self.pick('==', '!=', '<', '<=', '>', '>=', 'in', 'not in')} ({e()})" + self.pick("", "", f" {self.pick('==', '<')} {self.atom()}")
        if k < 0.90:
            return f"({e()}) {self.pick('and', 'or')} ({e()})"
        if k < 0.94:
            return f"({e()} if {e()}" + self.pick("", f" else {e()}") + ")"
        if k < 0.97:
            return f"{self.pick('not ', '-', '+')}({e()})"
        return self.pick(f"[{e()}, {e()}]", f"({e()}, {e()})", f"{{'k': {e()}, {self.atom()}: {e()}}}", f"dict(a={e()})", f"range({self.r.randint(-2, 5)}, {self.r.randint(-2, 5)})|list", f"namespace(a={e()}).a")

    def wrapped(self, depth):
        inner = self.expr(depth - 1)
        return inner if inner.isidentifier() else f"({inner})"

    def blanks(self):
        return self.pick("", "", " ", "\n", "  \n  ", "x", "\n x ", "\t", " y\n")

    def sign(self):
        return self.pick("", "", "", "-", "-", "+")

    def tag(self, inner):
        return "{%" + self.sign() + " " + inner + " " + self.sign() + "%}"

    def output(self, depth=2):
        return "{{" + self.pick("", "", "-") + " " + self.expr(depth) + " " + self.pick("", "", "-") + "}}"

    def statements(self, depth, in_loop=False):
        out = []
        for _ in range(self.r.randint(1, 3)):
            out += [self.blanks(), self.statement(depth, in_loop), self.blanks()]
        return "".join(out)

    def statement(self, depth, in_loop):
        r = self.r
        if depth <= 0:
            return self.pick(self.output(1), "{#" + self.sign() + " c " + self.sign() + "#}", self.tag(f"set q = {self.expr(1)}"), "{{ q }}")
        k = r.random()
        body = lambda loop=in_loop: self.statements(depth - 1, loop)  # noqa: E731
        if k < 0.2:
            return self.output(2)
        if k < 0.4:
            out = self.tag(f"if {self.expr(2)}") + body()
            if r.random() < 0.4:
                out += self.tag(f"elif {self.expr(1)}") + body()
            if r.random() < 0.5:
                out += self.tag("else") + body()
            return out + self.tag("endif")
        if k < 0.62:
            head = self.pick(f"for i in {self.expr(1)}", f"for i in {self.expr(1)} if {self.expr(1)}", "for m in messages", "for k, v in d.items()", "for i in range(3)", "for r in rows if r.v > 1", "for a, b in nest")
            inner = body(True) + self.pick("", "", "{{ loop.index }}", "{{ loop.last }}", "{{ loop.first }}{{ loop.revindex }}", "{{ loop.previtem }}", "{{ loop.nextitem }}", "{{ loop.length }}", "{{ loop.cycle('a', 'b') }}", "{{ loop.changed(i) }}", "{{ i }}", "{{ m.role }}", "{{ k }}")
            if r.random() < 0.25:
                inner += self.tag(f"if {self.expr(1)}") + self.tag(self.pick("break", "continue")) + self.tag("endif") + body(True)
            return self.tag(head) + inner + (self.tag("else") + body() if r.random() < 0.3 else "") + self.tag("endfor")
        if k < 0.72:
            return self.pick(self.tag(f"set q = {self.expr(2)}"), self.tag("set q") + body(False) + self.tag("endset"), self.tag("set q | upper") + body(False) + self.tag("endset"), self.tag("set ns = namespace(c=0)") + "{% for i in l %}{% set ns.c = ns.c + i %}{% endfor %}{{ ns.c }}", self.tag("set a, b = l[:2]") + "{{ a }}{{ b }}")
        if k < 0.8:
            return self.tag(f"macro f(x, y={self.expr(1)})") + body(False) + "{{ x }}{{ y }}" + self.pick("", "{{ varargs }}", "{{ kwargs }}", "{{ caller is defined }}") + self.tag("endmacro") + self.pick("{{ f(1) }}", "{{ f(1, 2) }}", "{{ f(y=s, x=n) }}", "{{ f() }}", "{{ f(1, 2, 3) }}", "{{ f(1, z=2) }}", self.tag("call f(2)") + body(False) + self.tag("endcall"))
        if k < 0.86:
            return self.tag(f"with q = {self.expr(1)}, p = {self.atom()}") + body() + "{{ q }}" + self.tag("endwith") + "{{ q }}"
        if k < 0.91:
            return self.tag(f"filter {self.pick('upper', 'trim', 'indent(2)', 'title', 'length')}") + body(False) + self.tag("endfilter")
        if k < 0.95:
            return self.tag("raw") + self.pick("{{ x }}", "{% if %}", " \n {# #} ", "a") + self.tag("endraw")
        return self.tag("generation") + body(False) + self.tag("endgeneration")


def main():
    if len(sys.argv) == 5 and sys.argv[1] == "--fuzz":
        gen = Fuzz(int(sys.argv[3]))
        golden = Golden(sys.argv[4], [SNIPPET_CONTEXT])
        made = 0
        while made < int(sys.argv[2]):
            made += golden.add(gen.output(gen.r.randint(1, 4)) if gen.r.random() < 0.6 else gen.statements(2), 0)
        return
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "jinja_golden.jsonl")
    golden = Golden(path, [SNIPPET_CONTEXT] + FAMILY_CONTEXTS, FAMILIES)
    for source in SNIPPETS:
        golden.add(source, 0)
    for family in range(len(FAMILIES)):
        for context in range(len(FAMILY_CONTEXTS)):
            if (family + context + context // len(VARIABLES)) % 2 == 0:  # half of them: every pair of lists meets
                golden.add(family, context + 1)
    golden.out.close()
    print(f"{path}: {os.path.getsize(path)} bytes")


if __name__ == "__main__":
    main()
