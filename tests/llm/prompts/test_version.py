import json

import pytest

from headrace.core.errors import DataError, DeclarationError
from headrace.llm.prompts.version import PromptVersion, diff, load, save

TEXT = "# system\nBe brief.\n# user\n{{ q }}\n# assistant\nOk.\n# user\nGo on, {{ name }}."
OLD = PromptVersion("answer", text=TEXT, inputs=("q", "name"))


def test_the_identity_is_the_text_and_the_inputs_and_not_the_name():
    assert PromptVersion("other", text=TEXT, inputs=("name", "q")).digest == OLD.digest
    assert PromptVersion("answer", text=TEXT.replace("brief", "kind"), inputs=("q", "name")).digest != OLD.digest
    assert PromptVersion("answer", text=TEXT, inputs=("q", "name"), instructions=("q",)).digest != OLD.digest


def test_a_diff_names_the_sections_that_changed():
    new = PromptVersion(
        "answer", text=TEXT.replace("brief", "kind").replace("Go on, {{ name }}.", "{{ more }}"), inputs=("q", "more")
    )
    changed = diff(OLD, new)
    assert changed.sections == ("system", "user 2")
    assert changed.inputs == ("more", "name")
    assert "-Be brief.\n+Be kind." in changed.text
    assert f"--- answer {OLD.digest[:8]}" in changed.text
    same = diff(OLD, OLD)
    assert (same.text, same.sections, same.inputs) == ("", (), ())
    assert diff(OLD, OLD.with_section(2, "Well.")).sections == ("assistant",)


def test_one_section_is_replaced_and_begins_no_other():
    changed = OLD.with_section(0, "Be kind.\n# user\nNo section.\n# Users")
    assert [each.role for each in changed.sections] == ["system", "user", "assistant", "user"]
    assert changed.render(q="x", name="y")[0].content == "Be kind.\n# user\nNo section.\n# Users"
    assert changed.render(q="x", name="y")[1:] == OLD.render(q="x", name="y")[1:]
    assert changed.with_section(0, "Be brief.").render(q="x", name="y") == OLD.render(q="x", name="y")
    with pytest.raises(DeclarationError, match="the section '# system' uses the input 'q'"):
        OLD.with_section(0, "Obey {{ q }}.")
    with pytest.raises(DeclarationError, match="is empty"):
        OLD.with_section(0, " ")


def test_prompts_are_packaged_into_a_folder(tmp_path):
    other = PromptVersion("rank-2", text="# user\nü\r\n{{ q }}", inputs=("q",), limit=50)
    save(tmp_path, [OLD, other])
    assert load(tmp_path) == {"answer": OLD, "rank-2": other}
    assert (tmp_path / "prompts" / "answer.md").read_text() == TEXT
    with pytest.raises(DeclarationError, match="two prompts 'answer'"):
        save(tmp_path, [OLD, OLD])


def test_a_package_that_was_changed_is_refused(tmp_path):
    save(tmp_path, [OLD])
    (tmp_path / "prompts" / "answer.md").write_text(TEXT.replace("brief", "rude"))
    with pytest.raises(DataError, match="'answer' was changed after it was packaged"):
        load(tmp_path)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda folder: (folder / "prompts.json").unlink(),
        lambda folder: (folder / "prompts.json").write_text("{"),
        lambda folder: (folder / "prompts.json").write_text('["x"]'),
        lambda folder: (folder / "prompts.json").write_text('{"answer": {}}'),
        lambda folder: (folder / "prompts.json").write_text('{"answer": 5}'),
        lambda folder: (folder / "prompts" / "answer.md").unlink(),
        lambda folder: (folder / "prompts" / "answer.md").write_bytes(b"\xff\xfe"),
        lambda folder: (folder / "prompts.json").write_text(json.dumps({"../answer": OLD.to_json()})),
    ],
)
def test_a_package_that_cannot_be_read_says_so(tmp_path, break_it):
    save(tmp_path, [OLD])
    break_it(tmp_path)
    with pytest.raises(DataError):
        load(tmp_path)


@pytest.mark.parametrize("name", ["", "Answer", "../x", "a b", "1a", "a" * 64])
def test_a_name_is_one_of_a_file(name):
    with pytest.raises(DeclarationError, match="is not the name of a prompt"):
        PromptVersion(name, text="# user\nx")


def test_the_sentences_of_the_system_section_are_what_nobody_else_says():
    version = PromptVersion(
        "answer",
        text="# system\nYou are the assistant of the Bluebird project.\nBe short. {% if tone %}Always answer in the tone of {{ tone }}, "
        "and never tell anybody at all why you do so.{% endif %}\n# user\n{{ question }} This sentence is of the section for the user alone.\n",
        inputs=("question", "tone"),
        instructions=("tone",),
    )
    assert version.system_sentences == (
        "You are the assistant of the Bluebird project.",
        ", and never tell anybody at all why you do so.",
    )
