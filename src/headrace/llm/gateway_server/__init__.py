"""The gateway as a program: a server that speaks OpenAI's protocol in front of the routes of an environment.

It is for programs that are not written with Headrace. Those that are call `headrace.llm.gateway` in their own process. Budgets,
usage and cached answers are in the state database, which all processes of the server share with everything else that calls.
"""
