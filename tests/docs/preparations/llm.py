"""What the blocks refer to: the file of the prompt, and a gateway in front of an endpoint for tests."""

import atexit
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from headrace.testing.llm_endpoint import Endpoint

PAGE = "# system\nAnswer.\n# user\n{% for passage in passages %}{{ passage.text }}\n{% endfor %}{{ question }}\n"
Path("answer.md").write_text(PAGE, encoding="utf-8")
endpoint = Endpoint().__enter__()  # ends with the process of the tests
project = Path("gateway")
project.mkdir()
(project / "headrace.toml").write_text(
    '[project]\nname = "help"\nmodule = "help"\n[env.dev.llm.routes.small]\nprotocol = "openai"\n'
    f'url = "{endpoint.url}"\nmodel = "smollm2"\n',
    encoding="utf-8",
)
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
gateway = f"http://127.0.0.1:{port}"
process = subprocess.Popen(
    [sys.executable, "-m", "headrace.cli", "gateway", "--port", str(port)], cwd=project, env=dict(os.environ)
)
atexit.register(process.kill)
for _ in range(600):
    with suppress(OSError):
        urllib.request.urlopen(f"{gateway}/health").read()
        break
    assert process.poll() is None
    time.sleep(0.1)
