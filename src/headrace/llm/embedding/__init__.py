"""Embeddings: texts as unit vectors, by the built-in MiniLM, by a user's function, or by an endpoint.

Not for where vectors are kept or searched: that is `llm.index`. The endpoint is reached by a function that the caller
passes; this room does not know the gateway.

    declarations: `hr.Embedding`.
    base: the contract `Embedder`, and the checks of what one returns.
    builtin: MiniLM as an ONNX graph; `minilm/` has its vocabulary.
    called: a user's function, and an endpoint.
    opening: from a declaration to an embedder.
"""
