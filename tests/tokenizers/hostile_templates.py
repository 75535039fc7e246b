"""Chat templates that try to escape from the sandbox or to take the machine.

As a program: render each, and print {name: [error or None, seconds of processor time]} and the peak of memory as JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time

LOOP = "{% for i in range(99999) %}"
# two equal values that are small in memory and 2 ** 100 nodes large for whoever walks through them
SHARED = (
    "{% set ns = namespace(s=[1], t=[1]) %}"
    + "{% for i in range(100) %}{% set ns.s = [ns.s, ns.s] %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}"
)
ATTRIBUTES = "[" + "given.b," * 7_000 + "]"  # work in bare Python, without a call

ESCAPES = {
    "attribute": "{{ ''.__class__.__mro__ }}",
    "item": "{{ ''['__class__']['__mro__'] }}",
    "filter attr": "{{ (''|attr('__class__')).mro() }}",
    "function globals": "{{ raise_exception.__globals__.x }}",
    "class init": "{{ cycler.__init__.__globals__ }}",
    "namespace init": "{{ namespace.__init__.__globals__ }}",
    "macro function": "{% macro m() %}{% endmacro %}{{ m._func.__globals__ }}",
    "context": "{{ self._TemplateReference__context.environment }}",
    "str.format": "{{ '{0.__class__.__mro__}'.format('') }}",
    "str.format_map": "{{ '{a.__class__.__mro__}'.format_map({'a': 1}) }}",
    "format as attribute": "{{ ('{0.__class__.__mro__}'|attr('format'))('') }}",
    "format through map": "{{ (['{0.__class__.__mro__}']|map(attribute='format')|first)('') }}",
    "format of markup": "{{ ('{0.__class__.__mro__}'|safe).format('') }}",
    "namespace dunder": "{{ namespace(__class__=1) }}",
    "namespace dunder set": "{% set ns = namespace() %}{% set ns.__init__ = 1 %}",
    "append": "{{ messages.append(1) }}",
    "update": "{{ {}.update({}) }}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}",
    "extends": "{% extends 'x' %}",
    "bytes": "{{ (1).to_bytes(2000000000, 'big') }}",
    "integer of bytes": "{{ (1).from_bytes([255] * 900000, 'big') // (1).from_bytes([255] * 400000, 'big') }}",
    "encode": "{{ ('\u4f60' * 1000000).encode('punycode') }}",
}

EXPLOSIONS = {
    # endless
    "macro recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "macro tree": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "block recursion": "{% block a %}{{ self.a() }}{% endblock %}",
    "loop recursion": "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "nested loops": LOOP + LOOP + "{% endfor %}{% endfor %}",
    "loop filter": LOOP + "{% for j in range(99999) if j < 0 %}{% endfor %}{% endfor %}",
    "nested calls": "{% macro m() %}{{ caller() }}{{ caller() }}{% endmacro %}"
    + "{% call m() %}" * 30
    + "{% endcall %}" * 30,
    "generation": "{% generation %}" + LOOP + LOOP + "{% endfor %}{% endfor %}{% endgeneration %}",
    "attributes in a loop": LOOP + "{% set x = " + ATTRIBUTES + " %}{% endfor %}",
    "attributes in a test": "{% for i in range(99999) if " + ATTRIBUTES + " %}{% endfor %}",
    "attributes in a macro": "{% macro m() %}{% set x = "
    + ATTRIBUTES
    + " %}{% endmacro %}"
    + LOOP
    + "{{ m() }}{% endfor %}",
    "attributes in a block": "{% block q %}{% set x = "
    + ATTRIBUTES
    + " %}{% endblock %}"
    + LOOP
    + "{{ self.q() }}{% endfor %}",
    "star arguments": "{% macro m() %}{{ varargs }}{% endmacro %}" + LOOP + "{{ m(*range(99999)) }}{% endfor %}",
    "maps of maps": "{% set l = range(99999)|list %}{{ ([l] * 99999)|map('sum')|list }}",
    "search in a range": LOOP + "{% set x = 'a' in range(99999) %}{% endfor %}",
    # numbers
    "power": "{{ 10 ** (10 ** 9) }}",
    "power of a variable": "{% set x = 10 ** 9 %}{{ x ** x }}",
    "range": "{{ range(10 ** 12)|list }}",
    "loop over a range": "{% for x in range(10 ** 12) %}{% endfor %}",
    "round": "{{ 1.5|round(1000000000, 'ceil') }}",
    "round to nothing": "{{ 5|round(-1000000000) }}",
    "round a text": "{{ 'a'|round(9, 'ceil') }}",
    # texts
    "repeat": "{{ 'ab' * 4000000000 }}",
    "repeat a list": "{{ ([0] * 4000000000)|length }}",
    "double": "{% set ns = namespace(s='a') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    "double ~": "{% set ns = namespace(s='a') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    "double list": "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
    "width": "{{ '{:4000000000}'.format(1) }}",
    "precision": "{{ '{:.1000000000f}'.format(1.5) }}",
    "nested width": "{{ '{:{w}}'.format(1, w=4000000000) }}",
    "percent width": "{{ '%4000000000d' % 1 }}",
    "percent star": "{{ '%*d' % (2000000000, 1) }}",
    "percent precision": "{{ '%.2000000000f' % 1.5 }}",
    "percent names": "{{ ('%(a)s' * 10000) % {'a': 'x' * 1000000} }}",
    "format filter": "{{ '%2000000000d'|format(1) }}",
    "is odd": "{{ '%2000000000d' is odd }}",
    "is divisible": "{{ '%2000000000d' is divisibleby 3 }}",
    "center": "{{ 'a'.center(4000000000) }}",
    "center filter": "{{ 'a'|center(4000000000) }}",
    "zfill": "{{ '1'.zfill(4000000000) }}",
    "expandtabs": "{{ '\t'.expandtabs(2000000000) }}",
    "replace": "{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}",
    "replace nothing": "{{ ('a' * 1000000).replace('', 'b' * 1000000) }}",
    "replace filter": "{{ ('a' * 1000000)|replace('a', 'b' * 1000000) }}",
    "join": "{{ ('b' * 1000000).join('a' * 1000000) }}",
    "join filter": "{{ ('a' * 1000000)|join('b' * 1000000) }}",
    "join attribute": "{{ [{'a': 'x'}]|map(attribute='a.' * 9000000)|join }}",
    "indent": "{{ ('\\n' * 1000000)|indent(1000000) }}",
    "JSON indent": "{{ [[1]]|tojson(indent=2000000000) }}",
    "JSON separators": "{{ ([1] * 10000)|tojson(separators=('x' * 1000000, ':')) }}",
    "batch": "{{ [1]|batch(2000000000, 'x')|list }}",
    "slice": "{{ [1]|slice(2000000000)|list }}",
    "sum of lists": "{{ ([[1] * 1000] * 100000)|sum(start=[])|length }}",
    "sort": "{{ (['a' * 1000000 ~ 'b'] * 100000)|sort|length }}",
    "strip": "{{ ('a' * 3000000).strip('b' * 3000000 ~ 'a') }}",
    "rfind": "{{ ('a' * 3000000).rfind('a' * 150000 ~ 'b' ~ 'a' * 150000) }}",
    "output": LOOP + "{{ 'x' * 10000 }}{% endfor %}",
    "text": LOOP + LOOP + "x" * 10_000 + "{% endfor %}{% endfor %}",
    "set block": "{% set x %}" + LOOP + "x" * 50_000 + "{% endfor %}{% endset %}",
    "macro output": "{% macro f() %}" + LOOP + "x" * 50_000 + "{% endfor %}{% endmacro %}{% set x = f() %}",
    "keep": "{% set ns = namespace(l=[]) %}" + LOOP + "{% set ns.l = ns.l + ['x' * 1000000 ~ i] %}{% endfor %}",
    "keep parts": "{% set ns = namespace(l=[]) %}"
    + LOOP
    + "{% set ns.l = ns.l + [('\u4f60 ' * 100000).split()] %}{% endfor %}",
    "slices": "{% set s = 'a' * 1000000 %}" + "{% set x = s[1:] %}" * 3_500,
    "reversed": "{% set s = 'a' * 1000000 %}" + LOOP + "{% set x = s[::-1] %}{% endfor %}",
    "urlize": "{{ ('a.' * 100000)|urlize }}",
    "wordwrap": "{{ ('a' * 1000000)|wordwrap(1) }}",
    # values that are larger than they are
    "print shared": SHARED + "{{ ns.s }}",
    "JSON of shared": SHARED + "{{ ns.s|tojson }}",
    "compare shared": SHARED + "{{ ns.s == ns.t }}",
    "chained comparison": SHARED + "{{ 1 < 2 and ns.s < ns.t <= ns.s }}",
    "search shared": SHARED + "{{ ns.s in [ns.t] }}",
    "search in an iterator": SHARED + "{{ ns.s in [ns.t]|map('default') }}",
    "search in the loop": SHARED + "{% for x in [ns.t] %}{{ (ns.s, 1) in loop }}{% endfor %}",
    "search in values": SHARED + "{{ ns.s in {1: ns.t}.values() }}",
    "test shared": SHARED + "{{ ns.s is eq ns.t }}",
    "select shared": SHARED + "{{ [ns.t]|select('eq', ns.s)|list }}",
    "count shared": SHARED + "{{ [ns.s].count(ns.t) }}",
    "max of shared": SHARED + "{{ [ns.s, ns.t]|max }}",
    "changed": SHARED + "{% for x in [ns.s, ns.t] %}{{ loop.changed(x) }}{% endfor %}",
    "error about shared": SHARED + "{{ {}[ns.s].x }}",
    "raise shared": SHARED + "{{ raise_exception(message=ns.s) }}",
    "hash shared": "{% set ns = namespace(s=(1,)) %}{% for i in range(99) %}{% set ns.s = (ns.s, ns.s) %}{% endfor %}{{ {ns.s: 1} }}",
    "hash added": "{% set ns = namespace(s=(1,)) %}{% for i in range(99) %}{% set ns.s = {1: ns.s}.items()|first + {1: ns.s}.items()|first %}{% endfor %}{{ {}.get(ns.s) }}",
    "namespaces": "{% set ns = namespace() %}{% for i in range(99) %}{% set ns.s = namespace(a=ns.s, b=ns.s) %}{% endfor %}{{ ns }}",
    "namespace in itself": "{% set ns = namespace() %}{% set ns.s = ns %}{{ ns }}",
    "deep list": "{% set ns = namespace(s=[1]) %}" + LOOP + "{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}",
    "deep tuple": "{% set ns = namespace(s=(1,)) %}" + LOOP + "{% set ns.s = (ns.s,) %}{% endfor %}{{ {ns.s: 1} }}",
    "deep filters": "{% set ns = namespace(s=[1]) %}"
    + LOOP
    + LOOP
    + "{% set ns.s = ns.s|map('string') %}{% endfor %}{% endfor %}",
    # the compiler
    "parentheses": "{{ " + "(" * 30_000 + "1" + ")" * 30_000 + " }}",
    "brackets": "{{ " + "[" * 30_000 + "]" * 30_000 + " }}",
    "operators": "{{ " + "1+" * 30_000 + "1 }}",
    "attributes": "{{ a" + ".b" * 30_000 + " }}",
    "filters": "{{ a" + "|e" * 30_000 + " }}",
    "ifs": "{% if x %}" * 3_000 + "{% endif %}" * 3_000,
    "elifs": "{% if x %}" + "{% elif x %}" * 5_000 + "{% endif %}",
    "number": "{{ " + "9" * 60_000 + " }}",
    "long": "x" * 1_000_000,
}

HOSTILE = ESCAPES | EXPLOSIONS


def main() -> None:
    from autoload.errors import TemplateError
    from autoload.text.sandbox import render

    found: dict[str, tuple[str | None, float]] = {}
    for name, template in HOSTILE.items():
        print(name, file=sys.stderr, flush=True)  # the last line tells which one killed the process
        start = time.thread_time()
        try:
            text, _ = render(template, {"messages": [], "given": {"b": 1}})
            error = None if text else "nothing"
        except TemplateError as e:
            error = str(e)
        found[name] = (error, time.thread_time() - start)
    print(json.dumps({"found": found, "peak": peak_memory()}))


def peak_memory() -> int:
    """Most bytes that this program held. Linux counts the parent's memory before `exec` in `ru_maxrss`, but not here."""
    if sys.platform == "linux":
        with open("/proc/self/status") as f:
            return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM:"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
