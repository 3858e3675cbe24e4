"""Templates as users write them; outputs and sentences are those of Go's text/template.

The refusals marked *recorded* are those of a real swarm.
"""

from __future__ import annotations

import pytest

from pyswarm.templating import OUTPUT_MAX, STEPS_MAX, Struct, TemplateError, check, expand

DATA = {
    "Service": {"ID": "s1", "Name": "web", "Labels": {"a.b": "x", "k": "v"}},
    "Node": {"ID": "n1", "Hostname": "host-1"},
    "List": [1, 2, 3],
    "None": None,
    "Yes": True,
    "Empty": "",
}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain } text { with {one}", "plain } text { with {one}"),
        ("{{.Node.ID}}-{{.Service.Name}}", "n1-web"),
        ('{{index .Service.Labels "a.b"}}', "x"),
        ('{{index .Service.Labels "missing"}}', ""),
        ("{{ .Service.Labels }}", "map[a.b:x k:v]"),
        # white space and comments
        ("a \n {{- .Node.ID -}} \n b", "an1b"),
        ("a {{/* nothing }} here */}} b", "a  b"),
        ("a {{- /* nothing */ -}} b", "ab"),
        ("{{.Node.ID\n}}", "n1"),
        # blocks
        ("{{if .Yes}}a{{else}}b{{end}}", "a"),
        ("{{if .Empty}}a{{else}}b{{end}}", "b"),
        ('{{if eq .Node.ID "x"}}a{{else if eq .Node.ID "n1"}}b{{else}}c{{end}}', "b"),
        ("{{with .Service}}{{.Name}}/{{$.Node.ID}}{{else}}-{{end}}", "web/n1"),
        ("{{with .Empty}}a{{else}}{{.Node.ID}}{{end}}", "n1"),
        ("{{range .List}}<{{.}}>{{end}}", "<1><2><3>"),
        ("{{range .Empty | len | slice .List}}{{.}}{{end}}", "123"),
        ("{{range .None}}a{{else}}b{{end}}", "b"),
        ("{{range $i, $x := .List}}{{$i}}={{$x}} {{end}}", "0=1 1=2 2=3 "),
        ("{{range $k, $v := .Service.Labels}}{{$k}}={{$v}};{{end}}", "a.b=x;k=v;"),
        ("{{range .List}}{{if eq . 2}}{{continue}}{{end}}{{.}}{{end}}", "13"),
        ("{{range .List}}{{if eq . 2}}{{break}}{{end}}{{.}}{{end}}", "1"),
        ("{{range .List}}{{with $.Node}}{{.ID}}{{break}}{{end}}{{end}}", "n1"),
        # variables
        ("{{$x := 1}}{{if .Yes}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("{{$x := 1}}{{if .Yes}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
        ("{{with $n := .Node}}{{$n.ID}}{{end}}", "n1"),
        # pipelines and functions
        ('{{.Service.Name | upper | printf "%s-%s" "a" | len}}', "5"),
        ('{{join "-" "a" "b" "c"}}', "a-b-c"),
        ('{{lower "ABC"}}{{len "äb"}}{{not .Yes}}{{ne 1 2}}', "abc3falsetrue"),
        ('{{and .Yes "x"}} {{and 0 .Nope}} {{or "" "z"}} {{or 1 .Nope}}', "x 0 z 1"),
        ("{{lt 1 2}}{{le 2 2}}{{gt 1 2}}{{ge 1 2}}{{eq 1 2 1}}", "truetruefalsefalsetrue"),
        ('{{print 1 2 "a" 3}} {{println "x" 1}}', "1 2a3 x 1\n"),
        ('{{slice "hello" 1 3}}{{index .List 0}}{{(index .List 1)}}', "el12"),
        ('{{html "<a href=\'x\'>"}} {{urlquery "a b&c"}}', "&lt;a href=&#39;x&#39;&gt; a+b%26c"),
        ('{{js "it\'s <b>"}}', "it\\'s \\u003Cb\\u003E"),
        # literals
        (r'{{"a\tb\x41\u00e9\101"}}{{`raw\n`}}', "a\tbAéAraw\\n"),
        ("{{1}} {{-7}} {{0x10}} {{017}} {{1_000}} {{1.50}} {{1e30}} {{'a'}}", None),
        ("{{true}}{{.None}}", "true<no value>"),
    ],
)
def test_what_comes_out(text: str, wanted: str | None) -> None:
    assert expand(text, DATA) == ("1 -7 16 15 1000 1.5 1e+30 97" if wanted is None else wanted)


@pytest.mark.parametrize(
    ("form", "wanted"),
    [
        ('"%s|%5s|%-5s|%.1s" "ab" "ab" "ab" "ab"', "ab|   ab|ab   |a"),
        ('"%d %5d %-5d| %05d %+d %x %X %o %b %c %U" 1 2 3 4 5 255 255 8 5 65 65', None),
        ('"%q %v %t %T" "a\\"b" .List true 1.5', '"a\\"b" [1 2 3] true float64'),
        ('"%.2f %e %g %6.1f" 1.239 1500.0 0.5 2.25', "1.24 1.500000e+03 0.5    2.2"),
        ('"%*d|%%" 4 7', "   7|%"),
        ('"%d" "x"', "%!d(string=x)"),
        ('"%s %s" "x"', "x %!s(MISSING)"),
        ('"%s" "x" 1', "x%!(EXTRA int=1)"),
        ('"%z" 1', "%!z(int=1)"),
        ('"100%"', "100%!(NOVERB)"),
        ('"%99999999d" 1', "%!(BADWIDTH)1"),
        ('"%x" "hi"', "6869"),
    ],
)
def test_printf(form: str, wanted: str | None) -> None:
    if wanted is None:
        wanted = "1     2 3    | 00004 +5 ff FF 10 101 A U+0041"
    assert expand(f"{{{{printf {form}}}}}", DATA) == wanted


CONTEXT = Struct("*template.Context", Service=Struct("struct { ID string }", ID="s"))


@pytest.mark.parametrize(
    ("text", "sentence", "place"),
    [
        ("{{.Bad", "template: expansion:1: unclosed action", (1, 6)),  # recorded
        (
            "{{.Nope}}",  # recorded
            'template: expansion:1:2: executing "expansion" at <.Nope>: '
            "can't evaluate field Nope in type *template.Context",
            (1, 2),
        ),
        (
            "{{.Foo.Bar}}",  # recorded
            'template: expansion:1:6: executing "expansion" at <.Foo.Bar>: '
            "can't evaluate field Foo in type *template.Context",
            (1, 6),
        ),
        (  # recorded
            '{{join (split .Service.Name "f") "-"}}',
            'template: expansion:1: function "split" not defined',
            (1, 8),
        ),
        (
            "é\n {{eq .Service.ID 1}}",
            'template: expansion:2:3: executing "expansion" at <eq .Service.ID 1>: '
            "error calling eq: incompatible types for comparison",
            (2, 3),
        ),
    ],
)
def test_a_refusal_says_where(text: str, sentence: str, place: tuple[int, int]) -> None:
    with pytest.raises(TemplateError) as caught:
        expand(text, CONTEXT)
    assert str(caught.value) == sentence
    assert (caught.value.line, caught.value.column) == place
    assert caught.value.details == {"line": place[0], "column": place[1]}
    assert caught.value.code == "invalid_argument"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{if}}x{{end}}", "missing value for if"),
        ("{{}}", "missing value for command"),
        ("{{.Yes | }}", "missing value for command"),
        ("{{if .Yes}}", "unexpected EOF"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{else}}", "unexpected {{else}}"),
        ("{{if .Yes}}{{else}}{{else}}{{end}}", "expected end; found {{else}}"),
        ('{{"a}}', "unterminated quoted string"),
        ("{{`a}}", "unterminated raw quoted string"),
        ("{{'a}}", "unterminated character constant"),
        ("{{3k}}", 'bad number syntax: "3k"'),
        ("{{99999999999999999999}}", 'bad number syntax: "99999999999999999999"'),
        ("{{$y}}", 'undefined variable "$y"'),
        ("{{if .Yes}}{{$x := 1}}{{end}}{{$x}}", 'undefined variable "$x"'),
        ("{{(.Yes}}", "unclosed left paren"),
        ("{{.Yes)}}", "unexpected right paren"),
        ("{{/* a", "unclosed comment"),
        ("{{/* a */ b}}", "comment ends before closing delimiter"),
        ("{{!}}", "unrecognized character in action: U+0021 '!'"),
        ("{{.a!}}", "bad character U+0021 '!'"),
        ("{{1 | 2}}", "non executable command in pipeline stage 2"),
        ('{{define "x"}}{{end}}', "{{define}} is not supported here"),
        ("{{break}}", "{{break}} outside {{range}}"),
        (r'{{"\q"}}', "invalid syntax"),
        ("{{" + "(" * 20 + "1" + ")" * 20 + "}}", "parentheses are nested more than 16 deep"),
        ("{{if 1}}" * 20 + "{{end}}" * 20, "blocks are nested more than 16 deep"),
        ("{{1" + " | print" * 60 + "}}", "the expression is nested too deeply"),
        ("{{print" + " 1" * 300 + "}}", "more than 256 terms in an action"),
        ("{{1}}" * 5000, "more than 4096 actions"),
    ],
)
def test_what_cannot_be_read(text: str, problem: str) -> None:
    with pytest.raises(TemplateError) as caught:
        check(text)
    assert str(caught.value) == f"template: expansion:1: {problem}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{.Service.Labels.missing}}", 'map has no entry for key "missing"'),
        ("{{.None.x}}", 'nil data; no entry for key "x"'),
        ("{{.Yes.x}}", "can't evaluate field x in type bool"),
        ("{{join}}", "wrong number of args for join: want at least 1 got 0"),
        ("{{upper 1}}", "error calling upper: wrong type for value; expected string; got int"),
        ("{{not 1 2}}", "wrong number of args for not: want 1 got 2"),
        ("{{.Yes 1}}", "Yes has arguments but cannot be invoked as function"),
        ("{{1 2}}", "can't give argument to non-function 1"),
        ("{{nil}}", "nil is not a command"),
        ("{{index .List 9}}", "error calling index: index out of range: 9"),
        ('{{index .List "a"}}', "error calling index: cannot index slice/array with type string"),
        ("{{index .None 1}}", "error calling index: index of untyped nil"),
        ("{{slice .List 3 1}}", "error calling slice: invalid slice index: 3 > 1"),
        ("{{len 3}}", "error calling len: len of type int"),
        ("{{eq .List 1}}", "error calling eq: invalid type for comparison"),
        ("{{lt true false}}", "error calling lt: invalid type for comparison"),
        ("{{range 3}}{{end}}", "range can't iterate over 3"),
    ],
)
def test_what_cannot_be_filled_in(text: str, problem: str) -> None:
    check(text)  # it can be read
    with pytest.raises(TemplateError) as caught:
        expand(text, DATA)
    assert str(caught.value).endswith(f">: {problem}")


def test_functions_of_the_callers_own() -> None:
    assert expand('{{shout "a"}}', {}, functions={"shout": lambda text: text + "!"}) == "a!"
    with pytest.raises(TemplateError, match='function "shout" not defined'):
        expand('{{shout "a"}}', {})
    with pytest.raises(TemplateError, match="wrong number of args for shout: want 1 got 2"):
        expand('{{shout "a" "b"}}', {}, functions={"shout": str})


def test_output_is_bounded() -> None:
    rows = {"L": list(range(100))}
    text = "{{range .L}}" + "x" * (OUTPUT_MAX // 50) + "{{end}}"
    with pytest.raises(TemplateError, match=f"makes more than {OUTPUT_MAX} characters"):
        expand(text, rows)


def test_steps_are_bounded() -> None:
    rows = {"L": list(range(STEPS_MAX))}
    with pytest.raises(TemplateError, match=f"takes more than {STEPS_MAX} steps"):
        expand("{{range $.L}}{{range $.L}}{{end}}{{end}}", rows)


def test_work_is_bounded() -> None:
    doubling = '{{$x := "0123456789"}}' + "{{$x = print $x $x}}" * 40
    with pytest.raises(TemplateError, match="works on more than"):
        expand(doubling, {})


@pytest.mark.parametrize(
    "text",
    [
        "{{.__class__}}",
        "{{.Service.__class__.__mro__}}",
        "{{.List.append}}",
        "{{index .Service.Labels.items 0}}",
        "{{$.keys}}",
        "{% for x in ().__class__.__bases__ %}",
        "{{ self }}",
        "{{ field }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ 'a'.join }}",
    ],
)
def test_nothing_of_python_or_jinja2_can_be_reached(text: str) -> None:
    if text.startswith("{%"):
        assert expand(text, DATA) == text
    else:
        with pytest.raises(TemplateError):
            expand(text, DATA)


def test_what_has_no_place_in_a_template_is_refused() -> None:
    with pytest.raises(TemplateError, match="has no place in a template"):
        expand("{{.x.y}}", {"x": object()})
