"""Chat templates: equal to the reference's text, and closed to templates that escape or explode."""

from __future__ import annotations

import copy
import dataclasses
import enum
import functools
import json
import os
import pickle
import runpy
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pytest

from autoload.errors import ArgumentError, TemplateError
from autoload.text import sandbox
from autoload.text.chat import plain, render_chat

SHARED = Path(os.environ.get("AUTOLOAD_SHARED") or Path(__file__).parents[3] / "shared") / "tokenizers"
HOSTILE_FILE = Path(__file__).with_name("hostile_templates.py")
HOSTILE = runpy.run_path(str(HOSTILE_FILE))["HOSTILE"]
PARAMETERS = ("tools", "documents", "add_generation_prompt", "continue_final_message")
USER = [{"role": "user", "content": "Q"}]


class Noon(datetime):
    """The clock of the recorded renders."""

    @classmethod
    def now(cls, tz=None):
        return cls(2026, 1, 2, 3, 4, 5)


@functools.cache
def recorded(case: str) -> list[dict[str, Any]]:
    path = SHARED / "expected.jsonl"
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as lines:
        return [row for row in map(json.loads, lines) if row["case"] == case]


@pytest.fixture
def noon(monkeypatch):
    monkeypatch.setattr(sandbox, "datetime", Noon)


def render(template: str, conversation: Any = USER, **keywords: Any) -> str:
    """The text alone; keywords that are not parameters are variables of the template."""
    named = {name: keywords.pop(name) for name in PARAMETERS if name in keywords}
    return render_chat(template, conversation, **named, variables=keywords)[0]


# The reference's renders ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(not recorded("chat_render"), reason="the recorded renders are not here")
@pytest.mark.parametrize("name", sorted({row["dir"] for row in recorded("chat_render")}))
def test_recorded_renders(name: str, noon):
    rows = [row for row in recorded("chat_render") if row["dir"] == name]
    assert rows
    for row in rows:
        template = (SHARED / name).read_text(encoding="utf-8")
        if isinstance(row["rendered"], dict):
            with pytest.raises(TemplateError, match="chat_template"):
                render(template, row["conversation"], **row["kwargs"])
        else:
            assert render(template, row["conversation"], **row["kwargs"]) == row["rendered"], row["name"]


@pytest.mark.skipif(not recorded("chat"), reason="the recorded renders are not here")
@pytest.mark.parametrize("row", recorded("chat"), ids=lambda row: f"{row['dir']}-{row['name']}")
def test_recorded_tokenizer_templates(row: dict[str, Any]):
    config = json.loads((SHARED / row["dir"] / "tokenizer_config.json").read_text(encoding="utf-8"))
    path = SHARED / row["dir"] / "chat_template.jinja"
    template = path.read_text(encoding="utf-8") if path.exists() else config["chat_template"]
    special = {k: v["content"] if isinstance(v, dict) else v for k, v in config.items() if k.endswith("_token") and v}
    assert render(template, row["conversation"], **special, **row["kwargs"]) == row["rendered"]


@pytest.fixture(scope="module")
def reference():
    module = pytest.importorskip("transformers.utils.chat_template_utils")

    def run(template: str, conversation: Any, mask: bool = False, **keywords: Any) -> tuple[str, list[Any]]:
        messages = [{k: v for k, v in message.items() if v is not None} for message in conversation]
        texts, spans = module.render_jinja_template(
            [messages], chat_template=template, return_assistant_tokens_mask=mask, **keywords
        )
        return texts[0], list(spans[0]) if spans else []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "datetime", Noon)
        yield run


@pytest.mark.skipif(not recorded("chat_render"), reason="the recorded conversations are not here")
def test_all_templates_against_the_reference(reference, noon):
    """Also the templates whose renders are not recorded."""
    conversations = {row["name"]: (row["conversation"], row["kwargs"]) for row in recorded("chat_render")}
    rendered = refused = 0
    for path in sorted((SHARED / "_chat_templates").iterdir()):
        template = path.read_text(encoding="utf-8")
        for name, (conversation, keywords) in conversations.items():
            try:
                expected, _ = reference(template, conversation, **keywords)
            except Exception:
                refused += 1
                with pytest.raises(TemplateError, match="chat_template"):
                    render(template, conversation, **keywords)
            else:
                rendered += 1
                assert render(template, conversation, **keywords) == expected, (path.name, name)
    assert rendered > 400 and 0 < refused < 100


VALUES: dict[str, Any] = {
    "a": "x<y",
    "n": 3,
    "f": 1.25,
    "yes": True,
    "none": None,
    "pair": (1, 2),
    "accents": "é你",
    "l": ["b", "a", "c", "a"],
    "d": {"k": "v", "j": [1, 2, {"z": None}]},
    "ms": [{"role": "user", "content": "hi there", "n": 2}, {"role": "assistant", "content": "yo", "n": 1}],
}
SNIPPETS = r"""
{{ l|sort|join(',') }} {{ l|unique|list }} {{ l|length }} {{ l|first }}{{ l|last }}{{ l|reverse|list }} {{ a|reverse }}
{{ ms|map(attribute='role')|join('/') }} {{ ms|selectattr('role','equalto','user')|list|length }}
{{ ms|rejectattr('role','equalto','user')|map(attribute='content')|list }} {{ ms|groupby('role')|map('first')|list }}
{{ ms|sum(attribute='n') }} {{ [1,2,3]|sum }} {{ [[1],[2]]|sum(start=[]) }} {{ ms|sort(attribute='n')|map(attribute='n')|list }}
{{ d|tojson }} {{ d|tojson(indent=2) }} {{ ms|tojson(ensure_ascii=True, separators=(',',':'), sort_keys=True) }} {{ accents|tojson }}
{{ d|dictsort }} {{ d|items|list }} {{ d.items()|list }} {% for k, v in d.items() %}{{ loop.index }}{{ k }}{{ loop.last }}{% endfor %}
{{ a|e }} {{ a|forceescape }} {{ a|safe }} {{ a|upper }} {{ 'ab cd'|title }} {{ a|capitalize }} {{ a|center(20) }}| {{ d|xmlattr }}
{{ a|replace('x','yy') }} {{ a|replace('x','y',1) }} {{ a|replace(zz, 'y') }} {{ a|wordcount }} {{ a|urlencode }} {{ d|urlencode }}
{{ 'a bc def ghi jkl'|truncate(9) }} {{ 'AB'|lower }} {{ a|attr('upper') is callable }} {{ 'a b c d e'|wordwrap(3) }} {{ 'www.x.org'|urlize }} {{ '<b>x</b>'|striptags }} {{ ' x '|trim }} {{ 'xax'|trim('x') }}
{{ 'a\nb'|indent }} {{ 'a\nb'|indent(2, true) }} {{ 'a\nb'|indent('xx') }} {{ '%s-%05d'|format('a', 3) }} {{ '%(x)s'|format(x=1) }}
{{ '%s %s' % (a, n) }} {{ '%5.2f' % f }} {{ '%s' % d }} {{ '{:>5}|{}'.format(n, a) }} {{ '{x}'.format(x=a) }} {{ '{x}'.format_map({'x': 2}) }}
{{ n ** 2 }} {{ 2 ** -1 }} {{ n // 2 }} {{ n % 2 }} {{ n / 2 }} {{ -n }} {{ n * 'ab' }} {{ [1]*3 }} {{ l + ['z'] }} {{ pair + (3,) }} {{ -1 * 'a' }}
{{ (1,2) == pair }} {{ a ~ n ~ l ~ none }} {{ 1 < n <= 3 }} {{ 'a' in l }} {{ 'k' in d }} {{ 'q' not in d }} {{ n in pair }} {{ a == 'x<y' }} {{ d == d }}
{{ l[1:] }} {{ a[::-1] }} {{ l[-1] }} {{ d['k'] }} {{ d.missing is defined }} {{ d.missing }} {{ l[n-1] }} {{ pair[:1] }}
{{ l|batch(3, 'z')|list }} {{ l|slice(2)|list }} {{ 3.7|round }} {{ 3.71828|round(2) }} {{ 3.2|round(0,'ceil') }} {{ '12'|int + 1 }}
{{ 'ff'|int(base=16) }} {{ '1.5'|float }} {{ -3|abs }} {{ l|max }} {{ l|min }} {{ 1000|filesizeformat }} {{ d|pprint }} {{ a|list }}
{{ none|default('x') }} {{ none|default('x', true) }} {{ zz|d('q') }} {{ l|select('equalto','a')|list }} {{ l|reject('in',['a'])|list }} {{ a|string }}
{{ n is odd }} {{ n is even }} {{ n is divisibleby 3 }} {{ n is number }} {{ l is sequence }} {{ d is mapping }} {{ l is iterable }} {{ a is string }}
{{ zz is undefined }} {{ a is lower }} {{ none is none }} {{ yes is true }} {{ yes is boolean }} {{ n is eq 3 }} {{ n is in pair }} {{ n is sameas n }} {{ 1.0 is divisibleby 1 }}
{{ a.split('<') }} {{ a.upper() }} {{ ' x '.strip() }} {{ 'xax'.strip('x') }} {{ a.startswith('x') }} {{ ','.join(l) }} {{ ','.join(l|map('upper')) }} {{ 'a.b.c'.rsplit('.', 1) }}
{{ a.replace('x','z') }} {{ 'abc'.find('c') }} {{ 'a'.ljust(3) }}| {{ '7'.zfill(3) }} {{ 'a\tb'.expandtabs(4) }} {{ 'x,y'.partition(',') }} {{ 'a\nb'.splitlines() }}
{{ l.count('a') }} {{ l.index('c') }} {{ d.get('k') }} {{ d.get('q', 'w') }} {{ d.keys()|list }} {{ d.values()|list }} {{ d.copy() }} {{ l.copy() }} {{ n.bit_length() }}
{% macro m(x, y=2) %}[{{ x }}{{ y }}{{ varargs }}{{ kwargs }}]{% endmacro %}{{ m(1) }}{{ m(1,3,4,z=5) }}{% for i in l %}{{ m(i) }}{{ 'ab'.count(i) }}{{ '{}'.format(i) }}{% endfor %}
{% macro c() %}<{{ caller() }}>{% endmacro %}{% call c() %}in{% endcall %}{% filter upper %}abc{% endfilter %}{% set x %}blk{{ n }}{% endset %}{{ x }}{% set y | upper %}low{% endset %}{{ y }}
{% set ns = namespace(a=1, b=[]) %}{% for x in l if x != 'b' %}{% set ns.a = ns.a + 1 %}{% set ns.b = ns.b + [x] %}{{ loop.index0 }}{{ loop.length }}{{ loop.cycle('p','q') }}{{ loop.changed(x) }}{{ loop.previtem }}{{ loop.nextitem }}{% else %}none{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns }}
{% for x in [[1,[2]],[3]] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{% endif %}{% endfor %}{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}
{{ strftime_now('%Y-%m-%d %H:%M') }} {{ dict(a=1) }} {{ dict([('x', 1)]) }} {{ dict.fromkeys(['a'], 2) }} {{ range(3)|list }} {{ range(1, 7, 2)|list }} {% set j = joiner(',') %}{{ j() }}a{{ j() }}b {% set c = cycler(1,2) %}{{ c.next() }}{{ c.current }}
{% autoescape true %}{{ a }}{{ a ~ '<' }}{{ '<b>'|safe }}{% endautoescape %}{% with q = 5 %}{{ q }}{% endwith %}{% raw %}{{ x }}{% endraw %}{# c #}{{ 'x' if n > 2 else 'y' }}{{ 'x' if n > 5 }}
{% if ms|selectattr('role','equalto','none') %}a lazy filter is true{% endif %}{% set it = l|map('upper') %}{{ it|list }}{{ it|list }} {{ 'B' in l|map('upper') }} {{ (l|map('upper')) is sequence }}
{{ [1,2]|map('string')|join }} {{ l|map('replace','a','b')|list }} {{ ms|map(attribute='q', default='w')|list }} {% for x in l|select('ne','a') %}{{ x }}{{ loop.length }}{% endfor %} {{ l|map('upper')|first }}
{{ [none, true, 1.0]|tojson }} {{ ''.__class__ }} {{ {'a': 1, 2: 3} }} {{ {'a': {'b': [1]}}.a.b[0] }} {{ 1e3 }} {{ 1_000 }} {{ not yes }} {{ zz or 'default' }} {{ [a, n]|string }} {{ (1,) }} {{ () }} {{ [] }} {{ {} }}
{% block b %}B{{ n }}{% endblock %}{{ self.b() }}{% for m in ms %}{% generation %}{{ m.content }}{% endgeneration %}-{% endfor %}{% generation %}x{% generation %}y{% endgeneration %}{% endgeneration %}
{% macro g() %}ab{% generation %}cd{% endgeneration %}{% endmacro %}zz{{ g() }}{% if n > 2 %}{% generation %}é你{% for x in l %}{{ x }}{% endfor %}{% endgeneration %}{% endif %}
""".strip().split("\n")


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_the_language_against_the_reference(snippet: str, reference, noon):
    """Every filter, test, operator and method does what it does without a meter."""
    expected = reference(snippet, USER, mask="generation" in snippet, **copy.deepcopy(VALUES))
    assert render_chat(snippet, USER, variables=VALUES) == expected


def test_every_filter_is_compared():
    from autoload.text.filters import PRICED_FILTERS, PRICED_TESTS

    text = " ".join(SNIPPETS)
    same = {"count": "length", "escape": "e"}
    assert not [name for name in PRICED_FILTERS if f"|{same.get(name, name)}" not in text and f"'{name}'" not in text]
    assert len(PRICED_TESTS) == len(jinja2.defaults.DEFAULT_TESTS)


# What render_chat does around the template ---------------------------------------------------------------------------


def test_semantics_of_the_recorded_rows():
    """The rows named chat_semantics that are about rendering; the others are about the tokenizer."""
    rows = {row["name"]: row["result"] for row in recorded("chat_semantics")}
    if not rows:
        pytest.skip("the recorded semantics are not here")
    odd = [{"role": "user", "content": "é<b>&'\"你"}]
    dumps = "{{ messages|tojson }}|{{ messages|tojson(indent=2) }}|"
    dumps += "{{ messages|tojson(ensure_ascii=True, separators=(',', ':'), sort_keys=True) }}"
    assert render(dumps, odd) == rows["tojson_unicode_html"]
    absent = [{"role": "user", "content": "x", "tool_calls": None}]
    assert render("{{ messages[0]|tojson }}", absent) == rows["none_dropped"]
    with pytest.raises(TemplateError, match=rows["raise_exception"]["message"]):
        render("{{ raise_exception('boom') }}")
    with pytest.raises(TemplateError, match="'append' of 'list' object is unsafe"):
        render("{{ messages.append(1) }}")
    roles = "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{{ m.role }};"
    roles += "{% if m.role == 'assistant' %}{% break %}{% endif %}{% endfor %}"
    four = [{"role": role, "content": ""} for role in ("system", "user", "assistant", "user")]
    assert render(roles, four) == rows["loopcontrols"]
    assert render("a\n  {% if true %}\nb\n  {% endif %}\nc\n") == rows["trim_lstrip_blocks"]
    names = "{{ flag }}{{ tools }}{{ documents }}{{ add_generation_prompt }}"
    assert render(names, flag="F") == rows["extra_kwargs"]
    strips = "{% for m in messages %}{{ m.content|trim }}{% if not loop.last %}<e>{% endif %}{% endfor %}<e>"
    final = [*USER, {"role": "assistant", "content": "A  "}]
    assert render(strips, final, continue_final_message=True) == rows["continue_trailing_space"]
    thinks = "{% for m in messages %}[{{ m.reasoning_content }}]{{ m.content }}<e>{% endfor %}"
    final = [*USER, {"role": "assistant", "reasoning_content": "think", "content": ""}]
    assert render(thinks, final, continue_final_message="reasoning_content") == rows["continue_reasoning"]


def test_spans_are_the_assistant_s_words():
    rows = [row for row in recorded("chat_semantics") if row["name"] == "assistant_mask_batch_np"]
    if not rows:
        pytest.skip("the recorded semantics are not here")
    for conversation in rows[0]["conversation"]:
        text, spans = render_chat(rows[0]["template"], conversation, variables={})
        said = [m["content"] + "<|im_end|>" for m in conversation if m["role"] == "assistant"]
        assert [text[start:end] for start, end in spans] == said


REASONS = "{% for m in messages %}{{ m.reasoning_content }}|{{ m.content }}<e>{% endfor %}"
BLOCKS = "{% for m in messages %}{% for b in m.content %}{{ b.text|trim }}{% endfor %}<e>{% endfor %}"
PLAIN = "{% for m in messages %}{{ m.content }}<e>{% endfor %}"


@pytest.mark.parametrize(
    ("template", "message", "field"),
    [
        (PLAIN, {"content": "A "}, True),
        (PLAIN, {"content": " A"}, "content"),
        (PLAIN, {"content": ""}, True),
        ("{% for m in messages %}{{ m.content|trim }}<e>{% endfor %}", {"content": " A \n"}, True),
        (PLAIN + "{{ messages[-1].content }}!", {"content": "A"}, True),
        ("{% for m in messages %}{{ m.content.split('</t>')[-1] }}<e>{% endfor %}", {"content": "<t>x</t>A "}, True),
        ("{% for m in messages %}{{ m.content|upper }}<e>{% endfor %}", {"content": "ab"}, True),
        ("{% for m in messages[:-1] %}{{ m.content }}{% endfor %}", {"content": "A"}, True),
        (PLAIN, {"content": None}, True),
        (PLAIN, {"text": "A"}, True),
        (PLAIN, {"text": "A"}, "text"),
        (BLOCKS, {"content": [{"type": "text", "text": "one "}, {"type": "image"}]}, True),
        (BLOCKS, {"content": [{"type": "image"}]}, True),
        (BLOCKS, {"content": ({"type": "text", "text": "a"}, {"type": "text", "text": " b "})}, True),
        (REASONS, {"reasoning": "why ", "content": "A"}, "reasoning"),
        (REASONS, {"thinking": "why", "content": "A"}, "reasoning_content"),
        (REASONS.replace("reasoning_content", "thinking"), {"reasoning": "why"}, "reasoning_content"),
        (REASONS, {"content": "A"}, "thinking"),
    ],
)
def test_continue_final_message_against_the_reference(template: str, message: dict, field: bool | str, reference):
    conversation = [{"role": "user", "content": "Q"}, {"role": "assistant", **message}]
    before = copy.deepcopy(conversation)
    try:
        expected, _ = reference(template, conversation, continue_final_message=field)
    except ValueError:
        with pytest.raises(TemplateError, match="continue_final_message is set but"):
            render(template, conversation, continue_final_message=field)
    else:
        assert render(template, conversation, continue_final_message=field) == expected
    assert conversation == before


def test_continue_final_message_errors():
    with pytest.raises(TemplateError, match="conversation is empty"):
        render(PLAIN, [], continue_final_message=True)
    with pytest.raises(TemplateError, match="exclude each other"):
        render(PLAIN, continue_final_message=True, add_generation_prompt=True)
    with pytest.raises(TemplateError, match="'content' is int, not a text"):
        render(PLAIN, [{"role": "user", "content": 3}], continue_final_message=True)


class Color(str, enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Message:
    role: str
    content: Any
    extra: Any = None


class Pydantic:
    def model_dump(self) -> dict[str, Any]:
        return {"role": "user", "content": "dumped"}


def test_the_template_sees_plain_data():
    assert plain({"a": np.float64(1.5), "b": np.bool_(False), "c": np.int64(3), "d": np.str_("s")}) == {
        "a": 1.5,
        "b": False,
        "c": 3,
        "d": "s",
    }
    assert type(plain(Color.RED)) is str and plain(Color.RED) == "red"
    assert plain([np.zeros(2), object(), render, Color]) == ["<ndarray>", "<object>", "<function>", "<EnumType>"] or (
        sys.version_info < (3, 11)
    )
    assert plain((1, {"x": ()})) == (1, {"x": ()})
    with pytest.raises(TemplateError, match="str object"):
        render("{{ evil.run() }}", evil=object())


def test_messages_may_be_objects():
    conversation: list[Any] = [Message("user", "hi"), Pydantic(), {"role": "user", "content": "x"}]
    text = render("{% for m in messages %}{{ m|tojson }}{% endfor %}", conversation)
    assert text == (
        '{"role": "user", "content": "hi"}{"role": "user", "content": "dumped"}{"role": "user", "content": "x"}'
    )
    with pytest.raises(ArgumentError, match=r"conversation\[1\] is str"):
        render("", [{"role": "user"}, "oops"])
    loop: dict[str, Any] = {"role": "user"}
    loop["content"] = loop
    with pytest.raises(ArgumentError, match="contains itself"):
        render("", [loop])


def test_tools_and_documents():
    def weather(city: str) -> str:
        """Tell the weather.

        Args:
            city: Where
        """
        return city

    text = render("{{ tools|tojson }}", tools=[weather, {"type": "function"}])
    assert [tool.get("function", {}).get("name") for tool in json.loads(text)] == ["weather", None]
    with pytest.raises(TemplateError, match=r"tools\[0\] is str"):
        render("", tools=["weather"])
    with pytest.raises(ArgumentError, match="documents"):
        render("", documents=["text"])
    with pytest.raises(ArgumentError, match="messages"):
        render("", messages=[])
    with pytest.raises(ArgumentError, match="chat_template is NoneType"):
        render(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("template", "line", "says"),
    [
        ("a\n{% if %}", 2, "Expected an expression"),
        ("a\nb\n{{ raise_exception('boom') }}", 3, "boom"),
        ("{% macro m() %}\n{{ x.y }}\n{% endmacro %}\n\n{{ m() }}", 2, "'x' is undefined"),
        ("\n{{ [1]|nosuch }}", 2, "No filter named 'nosuch'"),
        ("\n\n\n{{ 1 + 'a' }}", 4, "unsupported operand"),
        ("{{ messages[0]['content']['x']['y'] }}", 1, "no attribute 'x'"),
        ("{{ [].append(1) }}", 1, "unsafe"),
        ("\n{% for x in range(99999) %}{% for y in range(99999) %}{% endfor %}{% endfor %}", 2, "endless loop"),
    ],
)
def test_errors_name_the_line(template: str, line: int, says: str):
    with pytest.raises(TemplateError, match=says) as caught:
        render(template)
    error: Any = caught.value
    assert str(error).startswith(f"chat_template, line {line}: ")
    assert (error.line, error.template) == (line, template)
    assert isinstance(error, jinja2.TemplateError) and isinstance(error, ValueError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


# Templates that nobody vouches for -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile() -> dict[str, Any]:
    """What became of each hostile template, in a process of its own with a limit on its memory."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); "
    run = f"import runpy; runpy.run_path({str(HOSTILE_FILE)!r}, run_name='__main__')"
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", (limit if sys.platform == "linux" else "") + run],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, f"the process died: {done.stderr[-500:]}"
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="the memory of a process is measured by `resource`")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_templates_end_in_an_error(name: str, hostile: dict[str, Any]):
    error, seconds = hostile["found"][name]
    assert error and error.startswith("chat_template")
    assert seconds < 5  # 1.5 in the meter; what is more is the compiler, on a slow machine


@pytest.mark.skipif(sys.platform == "win32", reason="the memory of a process is measured by `resource`")
def test_hostile_templates_take_little_memory(hostile: dict[str, Any]):
    assert hostile["peak"] < 600e6


def test_an_exhausted_meter_stays_exhausted():
    """No render can go on after a limit, whatever swallows the error."""
    meter = sandbox.Meter()
    with pytest.raises(jinja2.exceptions.SecurityError):
        meter.charge(10**9)
    with pytest.raises(jinja2.exceptions.SecurityError):
        meter.charge(0)


def test_long_conversations_are_not_attacks():
    path = SHARED / "_chat_templates" / "Qwen-Qwen3-0.6B.jinja"
    if not path.exists():
        pytest.skip("the templates are not here")
    template = path.read_text(encoding="utf-8")
    for count, size in ((2_001, 2_500), (20_001, 20), (3, 2_000_000)):
        conversation = [{"role": ("user", "assistant")[n % 2], "content": "word " * (size // 5)} for n in range(count)]
        assert len(render(template, conversation)) > count * size


def test_threads_render_their_own_conversation():
    template = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% if m.stop %}"
    template += "{{ raise_exception('stop ' ~ m.content) }}{% endif %};{% endfor %}"
    before = threading.active_count()

    def work(n: int) -> None:
        for k in range(50):
            words = [f"{n}-{k}-{i}" for i in range(n + 1)]
            conversation = [{"role": "user", "content": word} for word in words]
            text, spans = render_chat(template, conversation, variables={})
            assert text == "".join(word + ";" for word in words)
            assert [text[start:end] for start, end in spans] == words
            with pytest.raises(TemplateError, match=f"stop {words[0]}$"):
                render_chat(template, [conversation[0] | {"stop": True}], variables={})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert threading.active_count() == before


def test_no_random_numbers_are_drawn():
    for template in ("{{ [1, 2]|random }}", "{{ lipsum() }}"):
        with pytest.raises(TemplateError, match="random|lipsum"):
            render(template)


def test_torch_stays_out():
    code = "import sys, autoload.text.chat; assert not {'torch', 'numpy', 'transformers'} & set(sys.modules)"
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    )
