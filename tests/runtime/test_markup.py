from __future__ import annotations

import pytest

from vsa.runtime.markup import escape_braces, escape_markdown


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("Ba$$ fishing", r"Ba\$\$ fishing"),
        ("a_b*c<d>|e", r"a\_b\*c&lt;d\>\|e"),
        ("two\nlines `code` [link](x) & \\", r"two lines \`code\` \[link\](x) &amp; \\"),
        ("- no list", r"\- no list"),
        ("2024. Spring", r"2024\. Spring"),
        ("===", r"\==="),
        ("-0.020 +3", "-0.020 +3"),
        ("1.5", "1.5"),
    ],
)
def test_markdown_is_shown_as_it_was_written(text, escaped):
    assert escape_markdown(text) == escaped


def test_braces_come_through_a_format():
    assert escape_braces("a {b} {{c}} d").format(b="never") == "a {b} {{c}} d"
