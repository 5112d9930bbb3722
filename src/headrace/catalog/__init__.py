"""The catalog that the projects of an installation share: what feature tables and models there are, and where.

Projects have separate stores and separate rights. Each writes one JSON document for each of its environments into a shared
folder or object store; a search reads the documents of all. Documents hold metadata only: no rows, and no credentials. Not
for what one environment has (`features.catalog`, `registry`): those are the sources of a document.

    document: the content of a document, as JSON and back; what others wrote is checked.
    store: documents in a folder or an object store.
    search: which entries a text matches, and how well; who uses a feature table.
"""
