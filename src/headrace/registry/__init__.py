"""Versions of models and the stage of each, requests to move one and decisions on them, who answers which traffic.

Our state database is the truth; MLflow's registry keeps the artifact and shows the stages as aliases. `Registry.move` is the
only way to a stage other than None, and a share of the traffic takes what Production takes. Not for making a version
(`training`), its evidence (`deployment`), or loading it (`scoring`).

    registry: versions, and the only way from one stage to another.
    versions: the registry as a contract, for the other files of this room.
    requests, bound, policies: requests and decisions, what a decision is bound to, and the gates that are declared.
    traffic, split: who answers the traffic of a model, and how a split of it is stored.
    authorization: which versions may answer callers or be shadows, and by which decision.
    rollouts: where versions are on their way into Production.
    projection: stages as aliases in MLflow's registry.
    records, tables: what the registry keeps, as records and as tables of the state database.
"""
