"""A small language model on this machine's CPU, behind an endpoint that speaks OpenAI's protocol: for demos, tests and trials.

`python -m headrace.llm.local --model smollm2 --port 8123` serves one; `running("smollm2")` runs it for the length of a block.
It is the only room that imports PyTorch, and transformers for folders that it has saved, inside of that process, and it uses no
network. It is no server for production: it generates one answer at a time. The gateway (`headrace.llm`) calls it as it calls
every endpoint.
"""

from headrace.llm.local.process import LocalEndpoint, running
from headrace.llm.local.server import serve

__all__ = ["LocalEndpoint", "running", "serve"]
