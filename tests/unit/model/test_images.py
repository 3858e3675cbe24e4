"""Image references: Docker's grammar, its defaults and the form it prints."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyswarm.errors import InvalidArgument
from pyswarm.model.images import ImageReference, is_image_reference

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("text", "printed", "full"),
    [
        ("busybox", "busybox:latest", "docker.io/library/busybox:latest"),
        ("docker.io/busybox:1", "busybox:1", "docker.io/library/busybox:1"),
        ("index.docker.io/a/b", "a/b:latest", "docker.io/a/b:latest"),
        ("docker.io/library/a/b", "library/a/b:latest", "docker.io/library/a/b:latest"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("127.0.0.1:5000/a/b/c:V-1", "127.0.0.1:5000/a/b/c:V-1", "127.0.0.1:5000/a/b/c:V-1"),
        ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
        (f"busybox@{DIGEST}", f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}"),
        (f"r.io/a:1@{DIGEST}", f"r.io/a:1@{DIGEST}", f"r.io/a:1@{DIGEST}"),
        ("UPPER/a", "UPPER/a:latest", "UPPER/a:latest"),  # a capital letter makes it a domain
    ],
)
def test_forms(text: str, printed: str, full: str) -> None:
    image = ImageReference.parse(text).tagged
    assert (str(image), image.full) == (printed, full)
    assert ImageReference.parse(printed) == image == ImageReference.parse(full)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("UPPER/Bad", "invalid reference format: repository name must be lowercase"),  # recorded
        ("", "invalid reference format"),
        (":x", "invalid reference format"),  # recorded
        ("http://a/b", "invalid reference format"),  # recorded
        ("busybox@sha256:zzz", "invalid reference format"),  # recorded
        ("busybox@sha256:" + "a" * 63, "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("a/b:", "invalid reference format"),
        ("a:" + "x" * 129, "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a" * 256, "repository name must not be more than 255 characters"),
        ("a" * 64, None),
    ],
)
def test_refusals(text: str, problem: str | None) -> None:
    with pytest.raises(InvalidArgument) as caught:
        ImageReference.parse(text)
    if problem is None:
        problem = f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
    assert str(caught.value) == problem
    assert not is_image_reference(text)


def test_pinning_keeps_the_tag() -> None:
    image = ImageReference.parse("r.io/a").pinned(DIGEST)
    assert str(image) == f"r.io/a:latest@{DIGEST}"
    assert image.names_same_as(ImageReference.parse("r.io/a"))
    assert not image.names_same_as(ImageReference.parse("r.io/a:2"))
    with pytest.raises(InvalidArgument):
        image.pinned("latest")


PARTS = st.from_regex(r"[a-z0-9]+((\.|_|__|-{1,3})[a-z0-9]+){0,2}", fullmatch=True)
REFERENCES = st.builds(
    lambda domain, parts, tag, digest: domain + "/".join(parts) + tag + digest,
    st.sampled_from(["", "docker.io/", "localhost/", "localhost:5000/", "r.example.com/", "A/"]),
    st.lists(PARTS, min_size=1, max_size=3),
    st.just("") | st.from_regex(r":\w[\w.-]{0,10}", fullmatch=True).filter(str.isascii),
    st.sampled_from(["", "@" + DIGEST]),
)


@settings(max_examples=200)
@given(REFERENCES)
def test_what_is_printed_means_the_same(text: str) -> None:
    if not is_image_reference(text):
        assert len(text.partition("@")[0]) >= 64  # like an image's id, or too long
        return
    image = ImageReference.parse(text)
    assert ImageReference.parse(str(image)) == image == ImageReference.parse(image.full)
    assert image.tagged.tagged == image.tagged
    assert len(str(image)) <= len(image.full)


@settings(max_examples=300)
@given(st.text(alphabet="aA0./:@-_[]é \n", max_size=20) | st.text(max_size=20))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        image = ImageReference.parse(text)
    except InvalidArgument:
        return
    assert ImageReference.parse(str(image)) == image
