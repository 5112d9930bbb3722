"""Versions of models and their stages, requests to move a version, decisions on requests, and the split of the traffic.

Our state database is the source of truth; MLflow's registry stores the artifact and shows the stages as aliases.
`Registry.move` is the only way to a stage other than None, and a share of the traffic requires what Production
requires. Not for making a version (`training`), its evidence (`deployment`), or loading it (`scoring`).

    registry: versions, and the only way from one stage to another.
    versions: the registry as a contract, for the other files of this package.
    requests, bound, policies: requests and decisions, what a decision is bound to, and the declared gates.
    traffic, split: which versions answer the traffic of a model, and how a split is stored.
    authorization: which versions may answer callers or be shadows, and by which decision.
    rollouts: the current step of each rollout.
    projection: stages as aliases in MLflow's registry.
    records, tables: the registry's data, as records and as tables of the state database.
"""
