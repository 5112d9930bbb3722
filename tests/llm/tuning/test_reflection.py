import pytest

from headrace.llm.tuning.reflection import proposed, request


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("Be kind.", "Be kind."),
        ("Sure:\n```\nBe kind.\n```\nDone.", "Be kind."),
        ("```markdown\nBe kind.\n```", "Be kind."),
        ("```\nWrite:\n```python\n1\n```\nEnd.\n```", "Write:\n```python\n1\n```\nEnd."),
        ("```\nBe kind.", "```\nBe kind."),
        ("Use `x` and ```y```.", "Use `x` and ```y```."),
        ("", ""),
        ("```\n```", ""),
    ],
)
def test_the_text_is_between_the_fences(answer, text):
    assert proposed(answer) == text


def test_the_request_shows_the_text_the_examples_and_the_last_refusal():
    prompt = request(
        "system", "Be {{ kind }}.", [{"Input": {"q": "{x}"}, "Feedback": "no", "Answer": "y" * 9000}], "it is empty."
    )
    assert "```\nBe {{ kind }}.\n```" in prompt
    assert 'Input: {"q": "{x}"}' in prompt
    assert "Feedback: no" in prompt
    assert "An earlier proposal was refused: it is empty." in prompt
    assert len(prompt) < 6000
