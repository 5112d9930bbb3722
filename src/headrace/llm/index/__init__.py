"""Vector indexes: documents of a table with their vectors, kept up to date, searched by meaning and by words.

The index of record is a Delta table, which `lakehouse.advance` writes: one row for each document or chunk. Its version is the
version of the index. What is searched is derived from a version, in a folder that can be deleted and built again at any time.
Not for how texts become vectors: any object with `dimension`, `digest` and `embed` does (`llm.embedding` has some).

Writing:
    declarations: `hr.VectorIndex`.
    documents: rows of the source table as texts with a key and a hash.
    vector_cache: vectors that were computed and are not in the table yet.
    plan: what has to be written.
    update: brings the table up to date.

Searching:
    base: the contract of stores, `VectorStore`.
    exact, lance: all vectors, by numpy; LanceDB.
    words: what a word is, and BM25 over the texts.
    filters, fusion: conditions on the metadata; reciprocal rank fusion.
    rows: the rows of a version as one Arrow file, and its description.
    search: `Index`, which puts these together.
    opening: builds the folder of a version, opens it, or deletes old ones.
    in_use: which folders somebody has open.
    package: a version as a folder that a model carries.
    recall: how many of the true neighbours a store finds.
    questions: vectors like those of questions, to measure with.
"""
