"""A project with two models that answer: `guide` searches an index and streams, `tone` has two inputs and answers whole."""

import json
import shutil

from headrace.inference.inference_record import unfolded
from headrace.scoring.spool import segments

TOML = """\
[project]
name = "assistants"
module = "assistants"

[env.dev]
[env.dev.llm.routes.small]
protocol = "openai"
url = "{url}"
model = "test"
key = {{secret = "ASSISTANT_KEY"}}
input_price = 1000.0
output_price = 1000.0
max_tokens = 60
[env.dev.llm.budgets]
day = "1000"
"""
PROGRAM = """\
from collections.abc import Iterator
import headrace as hr

bronze = hr.Source("bronze.docs", files="docs.jsonl")
docs = hr.Table("silver.docs", key="id", sql="SELECT id, body FROM bronze.docs")
index = hr.VectorIndex("features.docs_index", table=docs, text="body", embed=hr.Embedding("minilm"))
qa = hr.Source("gold.qa", files="qa.jsonl")
prompt = hr.Prompt("answer", file="answer.md", inputs=["question", "passages"])
toned = hr.Prompt("toned", file="toned.md", inputs=["question", "tone"])


def answer(question: str, ctx: hr.LLMContext) -> Iterator[str]:
    passages = ctx.search(index, question, k=2)
    yield from ctx.stream(prompt, question=question, passages=passages)


def said(question: str, tone: str, ctx: hr.LLMContext) -> str:
    return ctx.complete(toned, question=question, tone=tone)


guide = hr.Model(
    "guide", predict=answer, task=hr.Generation(), uses=[prompt, index, hr.Route("small")],
    evaluate=hr.Evaluate(dataset=qa, metrics=["answer_f1"]),
)
tone = hr.Model(
    "tone", predict=said, task=hr.Generation(), uses=[toned, hr.Route("small")],
    evaluate=hr.Evaluate(dataset=qa, metrics=["answer_f1"]),
)
first = hr.Deployment(guide, gates=[hr.at_least("answer_f1", 0.0)], serve=hr.Serve(), feedback=hr.Feedback("thumbs"))
second = hr.Deployment(tone, gates=[hr.at_least("answer_f1", 0.0)], serve=hr.Serve(redact=["question"]))
"""
DOCS = ["os.path.join joins path components.", "json.dumps serialises an object.", "time.sleep suspends execution."]
KEY = "sk-assistant-7f3a"  # of the endpoint
QUESTION = "How do I join paths?"


def reply(messages):
    """The question again, as far as it is not long, in as many pieces as it has words."""
    return f"You asked: {messages[-1]['content'].partition('Question: ')[2][:20_000]}"


def write(folder, url):
    folder.mkdir(parents=True)
    (folder / "headrace.toml").write_text(TOML.format(url=url))
    (folder / "assistants.py").write_text(PROGRAM)
    (folder / "answer.md").write_text(
        "# system\nAnswer.\n# user\n{% for passage in passages %}{{ passage.text }}\n{% endfor %}Question: {{ question }}\n"
    )
    (folder / "toned.md").write_text("# system\nAnswer.\n# user\nTone: {{ tone }}\nQuestion: {{ question }}\n")
    lines = [json.dumps({"id": f"d{place}", "body": text}) for place, text in enumerate(DOCS)]
    (folder / "docs.jsonl").write_text("\n".join(lines) + "\n")
    asked = [{"question": f"{QUESTION} {place}", "tone": "kind", "reference": "join"} for place in range(3)]
    (folder / "qa.jsonl").write_text("\n".join(map(json.dumps, asked)) + "\n")
    return folder


def routes(folder, url, *, more=""):
    """A file for HEADRACE_LLM_ROUTES."""
    file = folder / "routes.toml"
    file.write_text(
        f'[routes.small]\nprotocol = "openai"\nurl = "{url}"\nmodel = "test"\nkey = {{secret = "ASSISTANT_KEY"}}\n'
        f'attempts = 1\ntimeout = "8s"\n{more}'
    )
    return file


def copied(project, root, model="guide"):
    """What a server of a model starts from."""
    shutil.copytree(project / ".headrace" / "dev" / "serving", root / "serving")
    return root / "serving" / model


def logged(home):
    """The answers that wait in the log."""
    folder = home.parent.parent / "spool" / home.name
    found = [json.loads(record) for segment in segments(folder) for record in segment.records()]
    return [unfolded(each) for each in found if "by" in each]


def columns(record):
    """The outputs of a record's first row."""
    return record["predictions"][0]


def written(home, request):
    """Whether the log has a record of a request now, in a segment that is open or sealed."""
    folder = home.parent.parent / "spool" / home.name
    return any(request.encode() in file.read_bytes() for file in folder.rglob("*") if file.is_file())
