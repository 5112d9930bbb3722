"""What a CSV file or a folder says of an assistant: documents, what was guessed, and gold questions made of them."""

import json

import pytest

from headrace.core.errors import ConfigError, NotFoundError
from headrace.scaffold.assistant import begin
from headrace.scaffold.documents import read_documents
from headrace.scaffold.gold_questions import MOST, made_questions

FAQ = """\
Number,Title,Answer,Author
1,Opening hours,"It opens at nine. It closes at five.",Ann
2,,Dogs are welcome on Fridays.,Bob
3,Parking,Cars park behind the house.,Ann
4,Nothing,,Bob
"""


@pytest.fixture
def faq(tmp_path):
    (tmp_path / "faq.csv").write_text(FAQ)
    return tmp_path / "faq.csv"


@pytest.fixture
def pages(tmp_path):
    folder = tmp_path / "pages"
    (folder / "sub").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (folder / "returns.md").write_text("\ufeff# Returns\n\nA parcel can be returned.\nWithin 30 days.\n")
    (folder / "sub" / "opening_hours.TXT").write_text("It opens at nine.")
    (folder / "fees.md").write_text("There are none.")
    (folder / "empty.md").write_text("  \n")
    (folder / ".hidden" / "secret.md").write_text("Not to be read.")
    (folder / "picture.png").write_bytes(b"\x89PNG")
    return folder


def about(found):
    return {each.about: each.value for each in found.guesses}


def test_of_a_table_text_key_and_title_are_found(faq):
    found = read_documents(faq)

    assert about(found) == {"text": "Answer", "key": "Number", "title": "Title"}
    assert [(each.key, each.title) for each in found.documents] == [("1", "Opening hours"), ("2", ""), ("3", "Parking")]
    assert found.files == {"faq.csv": FAQ.encode()}


def test_the_longest_texts_are_the_text_where_no_name_says_so(faq):
    faq.write_text(FAQ.replace("Answer", "Reply").replace("Title", "Topic"))
    found = read_documents(faq)

    assert about(found) == {"text": "Reply", "key": "Number", "title": "none"}


def test_columns_that_were_named_are_not_guessed(faq):
    faq.write_text(FAQ.replace("2,,", "2,Dogs,"))
    found = read_documents(faq, key="Title", text="Author")

    assert about(found) == {"title": "none"}
    assert found.documents[0].text == "Ann"


def test_a_folder_is_read_as_the_project_reads_it(pages, tmp_path, monkeypatch):
    found = read_documents(pages)
    made = begin(pages, {"key": None, "text": None})
    namespace = {"__file__": str(tmp_path / "shop" / "documents.py")}
    from headrace.scaffold.templates import render

    exec(compile(render("assistant/documents.py", {}), "documents.py", "exec"), namespace)  # the template as it is
    for path, content in made.files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    rows = namespace["read_documents"]().to_pylist()

    assert [each.key for each in found.documents] == ["fees.md", "returns.md", "sub/opening_hours.TXT"]
    assert [{"id": each.key, "title": each.title, "text": each.text} for each in found.documents] == [
        each for each in rows if each["text"]
    ]
    assert found.documents[1].title == "Returns"
    assert found.documents[2].title == "opening hours"
    assert made.described.file == ""
    assert made.described.count == 3


def test_questions_are_made_of_titles_and_beginnings(faq):
    first, second, _ = made_questions(read_documents(faq).documents)

    assert first == {"id": "q01", "question": "Opening hours?", "reference": "It opens at nine.", "relevant": ["1"]}
    assert second["question"] == "Dogs are welcome on Fridays?"


def test_of_many_documents_some_are_asked_about_from_the_first_to_the_last(tmp_path):
    lines = "".join(f"{number},The text of number {number} is this.\n" for number in range(1000))
    (tmp_path / "many.csv").write_text(f"id,text\n{lines}")
    questions = made_questions(read_documents(tmp_path / "many.csv").documents)

    assert len(questions) == MOST
    assert [questions[place]["relevant"] for place in (0, 1, -1)] == [["0"], ["20"], ["980"]]


def test_the_sample_has_a_document_for_each_of_its_questions():
    made = begin(None, {})
    questions = [json.loads(line) for line in made.files["data/questions.jsonl"].splitlines()]
    text = made.files["data/documents.csv"].decode()

    assert made.described.count == 20
    assert made.described.questions == len(questions)
    assert made.described.example in {each["question"] for each in questions}
    assert all(each["reference"] in text for each in questions)
    assert all(f"\n{key}," in text for each in questions for key in each["relevant"])


REFUSED = {
    "empty": ("", {}, "is empty"),
    "no text": ("id,size\n" + "".join(f"{n},{n / 3}\n" for n in range(9)), {}, "has texts to answer from"),
    "words": ("id,colour\n" + "".join(f"{n},red\n" for n in range(9)), {}, "has texts to answer from"),
    "few": ("id,text\n1,It is so.\n2,\n", {}, "has 1 document with a text; at least 3"),
    "no key": ("kind,text\n" + "a,It is so again.\n" * 5, {}, "tells the documents apart"),
    "a key": (FAQ, {"key": "Author"}, "cannot be the key: 4 rows have 2 different values"),
    "none": (FAQ, {"key": ""}, "cannot be the key: a document needs one"),
    "the text": (FAQ, {"key": "Answer", "text": "Answer"}, "it is the text"),
    "numbers": (FAQ, {"text": "Number"}, "cannot be the text: it has no texts"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_that_is_none_of_documents_is_refused(tmp_path, case):
    content, options, reason = REFUSED[case]
    (tmp_path / "docs.csv").write_text(content)

    with pytest.raises(ConfigError, match=reason):
        read_documents(tmp_path / "docs.csv", **options)


def test_a_column_that_is_not_there_is_told_with_those_that_are(faq):
    with pytest.raises(NotFoundError, match="did you mean 'Answer'"):
        read_documents(faq, text="Anwser")


def test_a_folder_without_documents_or_with_bytes_that_are_no_text_is_refused(pages, tmp_path):
    (pages / "latin1.md").write_bytes("caf\u00e9".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin1.md is not UTF-8: byte 3 is 0xe9"):
        read_documents(pages)
    with pytest.raises(ConfigError, match="names a column of a CSV file"):
        read_documents(pages, key="id")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ConfigError, match=r"has no .md and no .txt file"):
        read_documents(tmp_path / "nothing")
