"""How good the answers of a language model are: metrics of texts and of retrieval, judges, attacks, schemas, comparisons.

Everything here is a pure function or a frozen declaration. A metric returns one value for each row, NaN where it has no
meaning there; `mean` makes one number of them. What calls a model gets it as a function (`ask`, `answer`), so this room
knows neither the gateway nor the tables; `training` wraps the metrics into its own contract, `deployment` the gates.

- `text`: answers against reference answers. `retrieval`: retrieved against relevant identifiers.
- `judge`, `rubrics`, `judging`: a metric judged by a model or a function. `calibration`: a judge against people's labels.
- `paired`: two versions on the same questions.
- `injections`, `injection_cases`, `leaks`: prompt injection. `output_schema`: answers as JSON by a schema.
- `text_checks`: refusals, language and length, for monitoring drift.
"""
