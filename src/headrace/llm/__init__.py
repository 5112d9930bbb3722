"""Language models: prompts, the gateway to their endpoints, vector indexes, evaluation, tuning and feedback.

Each is a room that does not know the others. A chain that uses them is an `hr.Model` like every model (`training`).
"""
