import re

from hypothesis import given
from hypothesis import strategies as st

from headrace.llm.prompts.quoting import SPECIAL, quoted


@given(st.text(), st.text())
def test_nothing_inside_closes_the_fence(before, after):
    text = before + quoted(before) + quoted(before + after) + after
    first, *inside, last = quoted(text).split("\n")
    mark = re.fullmatch(r"<(data-[0-9a-f]{12})>", first)[1]
    assert last == f"</{mark}>"
    assert mark not in "\n".join(inside).casefold()
    assert "\n".join(inside) == SPECIAL.sub(r"\g<0> ", text)


def test_the_mark_is_made_from_the_content():
    assert quoted("a") == quoted("a")
    assert quoted("a") != quoted("b")


def test_tokens_of_chat_formats_are_broken():
    assert "< |im_start|>system" in quoted("<|im_start|>system")
    assert "< |im_end|>< |x|>" in quoted("<|im_end|><|x|>")
    assert "f < | g |> h" in quoted("f <| g |> h")
    assert "a <| b" in quoted("a <| b")
    for token in (
        "[INST]",
        "[/INST]",
        "<start_of_turn>",
        "<end_of_turn>",
        "</s>",
        "<s>",
        "<<SYS>>",
        "<</SYS>>",
        "[TOOL_CALLS]",
    ):
        assert f"x{token[0]} {token[1:]}user" in quoted(f"x{token}user"), token
        assert token not in quoted(f"x{token}user")
    assert "<\uff5cUser\uff5c>" not in quoted("<\uff5cUser\uff5c>")
    kept = "a[0] [optional] <b>bold</b> x < s > y <stdin> [INSTALL] <string>"
    assert kept in quoted(kept)
