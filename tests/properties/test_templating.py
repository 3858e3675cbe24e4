"""No template makes the engine crash, hang or leak, whatever is written in it."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pyswarm.templating import OUTPUT_MAX, TemplateError, expand

CANARY = "do-not-leak-7f3a"


class Hidden:
    """Data that the template was not given: only reachable through attributes."""

    secret = CANARY


class Labels(dict[str, str]):
    secret = CANARY
    hidden = Hidden()


DATA = {"A": {"B": "x", "L": Labels(k="v")}, "N": [1, [2, 3], "s"], "Z": None, "F": 1.5}

WORDS = st.sampled_from(
    [
        *("{{", "}}", "{{-", "-}}", "{{/*", "*/}}", "if", "else", "end", "with", "range", "break"),
        *("continue", "define", "nil", "true", "and", "or", "not", "len", "index", "slice", "eq"),
        *("print", "printf", "println", "html", "js", "urlquery", "ne", "lt", "join", "upper"),
        *(".", ".A", ".A.B", ".A.L", ".N", ".Z", ".F", ".secret", ".hidden.secret", ".__class__"),
        *(".__init__.__globals__", "$", "$x", "$x.A", ":=", "=", ",", "|", "(", ")", "lower"),
        *('"%v"', '"%999d"', '"%*d"', '"k"', "`r`", "'c'", "1", "-1", "0x1f", "1e9", "2.5"),
        *("self", "cell", "field", "show", "__import__"),
    ]
)
SOUP = st.lists(WORDS | st.text(max_size=3), max_size=30).map(" ".join)


@st.composite
def expressions(draw: st.DrawFn, depth: int = 0) -> str:
    """Something that can be read, most of the time."""
    if depth == 2 or draw(st.booleans()):
        return draw(
            st.sampled_from([".", ".A", ".A.B", ".A.L", ".N", ".Z", ".F", '"k"', "1", "$", "true"])
        )
    name = draw(
        st.sampled_from(
            [
                "len",
                "index",
                "slice",
                "print",
                "printf",
                "eq",
                "lt",
                "and",
                "or",
                "not",
                "join",
                "upper",
            ]
        )
    )
    args = draw(st.lists(expressions(depth + 1), max_size=3))
    return f"({' '.join([name, *args])})"


@st.composite
def templates(draw: st.DrawFn, depth: int = 0) -> str:
    parts = []
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["text", "show", "if", "with", "range", "set"]))
        if kind == "text" or depth == 3:
            parts.append(draw(st.text(max_size=5)).replace("{", ""))
        elif kind == "show":
            parts.append(f"{{{{{draw(expressions())}}}}}")
        elif kind == "set":
            parts.append(f"{{{{$v := {draw(expressions())}}}}}{{{{print $v $v}}}}")
        else:
            inner, other = draw(templates(depth + 1)), draw(templates(depth + 1))
            start = f"{{{{{kind} {draw(expressions())}}}}}"
            parts.append(f"{start}{inner}{{{{else}}}}{other}{{{{end}}}}")
    return "".join(parts)


def outcome(text: str) -> str:
    try:
        done = expand(text, DATA)
    except TemplateError as error:
        done = str(error).replace(text, "")
    else:
        assert len(done) <= OUTPUT_MAX
    return done


@settings(max_examples=400, deadline=None)
@example("{{.A.L.secret}}")
@example("{{.A.L.hidden.secret}}")
@given(SOUP)
def test_any_words(text: str) -> None:
    assert CANARY not in outcome(text)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="{}-/*.$()|:=\"'`\\n 0xaif,é\n", max_size=40))
def test_any_characters(text: str) -> None:
    outcome("{{" + text)
    outcome("{{" + text + "}}")


@settings(max_examples=100, deadline=None)
@given(templates())
def test_what_can_mostly_be_read(text: str) -> None:
    assert outcome(text) == outcome(text)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40))
def test_text_in_a_raw_string_comes_out_as_it_is(text: str) -> None:
    plain = text.replace("`", "")
    assert expand(f"{{{{`{plain}`}}}}", {}) == plain
    assert expand(plain.replace("{", "("), {}) == plain.replace("{", "(")
