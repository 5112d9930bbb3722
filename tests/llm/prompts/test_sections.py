import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import DeclarationError
from headrace.llm.prompts.sections import join, split

SOURCE = "\n# system\nBe brief.\n\n# user\nHello\n## A heading\n# Context\nmore\n\n# assistant\nHi\n# user\n\n\nBye\n\n"


def test_a_section_is_a_line_with_a_role():
    assert [(each.role, each.text, each.line) for each in split(SOURCE)] == [
        ("system", "Be brief.", 3),
        ("user", "Hello\n## A heading\n# Context\nmore", 6),
        ("assistant", "Hi", 12),
        ("user", "Bye", 16),
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "the prompt has no section '# user'"),
        ("# system\nBe brief.", "the prompt has no section '# user'"),
        ("\nHello\n# user\nx", "line 2: 'Hello' comes before the first section"),
        ("# user\n\n# assistant\nx", "line 1: the section '# user' is empty"),
        ("# user\nx\n# system\ny", "line 3: '# system' is not the first section"),
        ("# system\nx\n# system\ny\n# user\nz", "line 3: '# system' is not the first section"),
        ("# sytem\nx\n# user\ny", "line 1: '# sytem' is no section"),
        ("# User\nx", "line 1: '# User' is no section"),
        ("# user:\nx", "line 1: '# user:' is no section"),
    ],
)
def test_what_is_no_prompt_is_refused_by_its_line(source, message):
    with pytest.raises(DeclarationError) as raised:
        split(source)
    assert message in str(raised.value)


def test_a_backslash_makes_text_of_a_heading():
    assert split("# user\nWrite:\n\\# user\n\\\\# x\n\\# Users")[0].text == "Write:\n# user\n\\# x\n# Users"


LINES = st.lists(
    st.sampled_from(
        ["# user", "# system", "# User", "\\# user", "\\\\# x", "# assistant \t", "#", "text", "", "  # user"]
    )
    | st.text(st.characters(exclude_characters="\n"))
)


@given(st.lists(LINES.map("\n".join).filter(str.strip), min_size=1, max_size=4))
def test_joined_sections_are_split_into_the_same_whatever_they_contain(texts):
    stripped = ["\n".join(_without_blank_edges(text.split("\n"))) for text in texts]
    assert [(each.role, each.text) for each in split(join([("user", text) for text in stripped]))] == [
        ("user", text) for text in stripped
    ]


def _without_blank_edges(lines):
    filled = [number for number, line in enumerate(lines) if line.strip()]
    return lines[filled[0] : filled[-1] + 1]
