"""A small project that answers questions from documents over a real endpoint, and what its tests look at."""

import json
import sqlite3
from contextlib import closing, contextmanager

from deltalake import DeltaTable

from headrace.testing.extractive import extractive
from headrace.testing.llm_endpoint import Endpoint

MORE = " It is there for many years. Nobody has to install it. Most programs have it somewhere."
DOCS = {
    "a": f"os.path.join joins path components with the separator of the system.{MORE}",
    "b": f"json.dumps serialises an object to a JSON formatted text.{MORE}",
    "c": f"math.sqrt returns the square root of a number.{MORE}",
    "d": f"time.sleep suspends execution for a number of seconds.{MORE}",
}
QUESTIONS = (
    ("How do I join path components?", "os.path.join joins path components", "a"),
    ("What serialises an object to JSON?", "json.dumps serialises an object", "b"),
    ("What returns the square root?", "math.sqrt returns the square root", "c"),
    ("What suspends execution for seconds?", "time.sleep suspends execution", "d"),
)
PROMPT = """# system
Answer from the passages.
# user
{% for passage in passages %}[{{ loop.index }}] {{ passage.text }}

{% endfor %}
Question: {{ question }}
"""
SHORT = PROMPT.replace(
    "Answer from the passages.", "Answer from the passages in one sentence, directly, word for word."
)
PROJECT = '''import re

import headrace as hr


def embed(texts):
    """Each word falls into one of 64 numbers."""
    vectors = []
    for text in texts:
        vector = [0.001] * 64
        for word in re.findall("[a-z]{3,}", text.lower()):
            vector[sum(map(ord, word)) % 64] += 1.0
        vectors.append(vector)
    return vectors


bronze = hr.Source("bronze.docs", files="docs.jsonl")
docs = hr.Table("silver.docs", key="id", sql="SELECT id, body FROM bronze.docs")
index = hr.VectorIndex("features.docs_index", table=docs, text="body", embed=hr.Embedding(function=embed, dimension=64))
qa = hr.Source("gold.qa", files="qa.jsonl")
tuning = hr.Source("gold.tuning", files="tuning.jsonl")
prompt = hr.Prompt("answer", file="answer.md", inputs=["question", "passages"])


def answer(question: str, ctx: hr.LLMContext) -> str:
    passages = ctx.search(index, question, k=2)
    return ctx.complete(prompt, question=question, passages=passages, max_tokens=60)


assistant = hr.Model(
    "assistant", predict=answer, task=hr.Generation(relevant="relevant"), uses=[prompt, index, hr.Route("small")],
    tune=hr.PromptTuning(tuning, calls=150, route="large"),
    evaluate=hr.Evaluate(dataset=qa, metrics=["answer_f1", "recall@2", hr.judge("brief", function=lambda row: len(row.answer) < 90)]),
)
delivery = hr.Deployment(
    assistant, gates=[hr.at_least("answer_f1", 0.01)], serve=hr.Serve(), score=hr.Score(into="gold.answers"),
)
'''
SETTINGS = """[project]
name = "mini"
module = "mini"
[env.dev]
[env.dev.llm.routes.small]
protocol = "openai"
url = "{url}"
model = "{model}"
input_price = 1.0
output_price = 2.0
[env.dev.llm.routes.large]
protocol = "openai"
url = "{url}"
model = "large"
{more}
"""


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def write(folder, url, *, model="small", more="", project=PROJECT, prompt=PROMPT, questions=QUESTIONS):
    """The files of the project."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "docs.jsonl").write_text(lines({"id": key, "body": body} for key, body in DOCS.items()))
    asked = [{"question": q, "reference": r, "relevant": key} for q, r, key in questions]
    (folder / "qa.jsonl").write_text(lines(asked))
    other = [{**each, "question": f"{each['question']} ({n})"} for n in range(4) for each in asked]
    (folder / "tuning.jsonl").write_text(lines(other))
    (folder / "answer.md").write_text(prompt)
    (folder / "mini.py").write_text(project)
    settings(folder, url, model=model, more=more)
    return folder


def settings(folder, url, *, model="small", more=""):
    (folder / "headrace.toml").write_text(SETTINGS.format(url=url, model=model, more=more))


@contextmanager
def endpoint(reply=None, **options):
    """An endpoint that answers from passages, and proposes instructions to whoever shows it one."""

    def answered(messages):
        from headrace.testing.extractive import reflect

        text = messages[-1]["content"]
        return reflect(text) if "```" in text else extractive(messages)

    with Endpoint(reply or answered, model="small", **options) as made:
        yield made


def ok(headrace, folder, *arguments, **options):
    done = headrace.run(folder, *arguments, **options)
    assert done.code == 0, done.stderr
    return done


def refused(headrace, folder, *arguments, **options):
    """What a command says that fails by a mistake of the user, without a traceback."""
    done = headrace.run(folder, *arguments, **options)
    assert done.code not in (0, 70), done.stderr
    assert "Traceback" not in done.stderr
    assert "defect of Headrace" not in done.stderr
    return done.stderr


def rows(folder, name):
    """Of a table of the lakehouse."""
    schema, table = name.split(".")
    return DeltaTable(str(folder / ".headrace" / "dev" / "lakehouse" / schema / table)).to_pyarrow_table().to_pylist()


def ledger(folder, query, *values):
    with closing(sqlite3.connect(folder / ".headrace" / "dev" / "state.db")) as connection:
        return connection.execute(query, values).fetchall()
