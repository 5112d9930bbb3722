"""Answers questions about Python's standard library from its own documentation."""

import headrace as hr
from assistant.documents import documents

source = hr.Source("bronze.docstrings", read=documents, description="The docstrings of the standard library.")
docs = hr.Table(
    "silver.docs",
    key="id",
    sql=hr.sql_file("docs.sql"),
    change_feed=True,
    description="One row a function, class or method: how it is called, and what it says of itself.",
)
index = hr.VectorIndex(
    "features.docs_index",
    table=docs,
    text="body",
    keep=["title"],
    embed=hr.Embedding("minilm"),
    refresh=hr.on_change_of(docs),
    description="The documents, by meaning and by words.",
)
questions = hr.Source("gold.qa", files="assistant/evaluation.jsonl", description="Questions with right answers.")

prompt = hr.Prompt("answer", file="answer.md", inputs=["question", "passages"])
route = hr.Route("small")


def answer(question: str, ctx: hr.LLMContext):
    passages = ctx.search(index, question, k=3)
    yield from ctx.stream(prompt, question=question, passages=passages)


assistant = hr.Model(
    "assistant",
    predict=answer,
    uses=[prompt, index, route],
    task=hr.Generation(relevant="relevant"),
    evaluate=hr.Evaluate(
        dataset=questions,
        metrics=["answer_f1", "rouge_l", "recall@3", hr.judge("relevant", route="judge")],
    ),
    tune=hr.PromptTuning("gold.from_feedback", calls=480, route="reflect"),
    description="Answers questions about Python's standard library.",
)
delivery = hr.Deployment(
    assistant,
    gates=[
        hr.documented(),
        hr.not_worse("answer_f1", margin=0.02),
        hr.injections(at_most=0.25),
        hr.approval("governance"),
    ],
    serve=hr.Serve(),
    feedback=hr.Feedback("thumbs", "correction"),
    monitor=hr.Monitor(
        alerts=[hr.alert("feedback.thumbs", below=0.5), hr.alert("empty_retrieval", above=0.05)], min_rows=50
    ),
    rollout=hr.Rollout(steps=["50%"], every="1s", by=["user"], min_requests=80, metric="feedback.thumbs"),
)

on_device = hr.Model(
    "assistant_on_device",
    predict=answer,
    uses=[prompt, index, hr.Route("smollm2")],
    task=hr.Generation(relevant="relevant"),
    evaluate=hr.Evaluate(dataset=hr.Source("gold.first_qa", files="assistant/first.jsonl")),
    description="The same with a small language model on this machine.",
)
on_device_delivery = hr.Deployment(on_device, gates=[hr.not_worse("answer_f1", min_rows=8)], serve=hr.Serve())
