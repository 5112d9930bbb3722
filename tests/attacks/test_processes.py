"""Processes import nothing because it lies in the project's folder, and model code finds no secret of the caller."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import headrace
from headrace.core import processes
from headrace.training import code

SOURCES = Path(headrace.__file__).parent
STARTING = {
    "subprocess": {"Popen", "run", "call", "check_call", "check_output", "getoutput", "getstatusoutput"},
    "os": {"system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp"},
    "asyncio": {"create_subprocess_exec", "create_subprocess_shell"},
    "sys": {"executable"},
}
SPY = """\


def fit(data, params):
    import os, subprocess, sys
    from pathlib import Path
    from sklearn.linear_model import LogisticRegression

    inherited = subprocess.run([sys.executable, "-c", "import os; print(dict(os.environ))"], capture_output=True).stdout
    seen = [repr(dict(os.environ)), inherited.decode()]
    for pid in ("self", os.getppid()):
        for name in ("environ", "cmdline"):
            seen.append(Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace"))
    Path(FILE).write_text("\\n".join(seen))
    return LogisticRegression(**params).fit(data.X, data.y)
"""


def test_nothing_else_starts_a_process():
    """One helper does: a new place that starts one by itself would not be isolated."""
    found = []
    for file in SOURCES.rglob("*.py"):
        if file == SOURCES / "core" / "processes.py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module, name = node.value.id, node.attr
                starts = name in STARTING.get(module, ()) or (module == "os" and name.startswith(("exec", "spawn")))
                found += [f"{file}:{node.lineno} {module}.{name}"] if starts else []
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                wrong = {"subprocess", "multiprocessing", "pty"} & {name.partition(".")[0] for name in names}
                found += [f"{file}:{node.lineno} imports {each}" for each in wrong]
    assert found == []


def test_a_module_in_the_folder_is_not_imported(tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    for name in ("orjson", "uvloop", "json", "headrace", "sitecustomize", "usercustomize"):
        (tmp_path / f"{name}.py").write_text(f"from pathlib import Path\nPath({str(ran)!r}).touch()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "orjson.py"))
    server = processes.start(processes.module("headrace.serving", "--help"), stdout=processes.NOTHING)
    assert server.wait() == 0
    assert not ran.exists()


def test_a_process_is_given_what_it_needs_and_no_more(monkeypatch):
    for name in (
        "HEADRACE_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "MLFLOW_TRACKING_PASSWORD",
        "SHOP_PASSWORD",
        "HEADRACE_ENV__prod__state",
    ):
        monkeypatch.setenv(name, "s3cr3t")
    asked = processes.start(
        [sys.executable, "-P", "-c", "import os; print(dict(os.environ), os.listdir('/proc/self/fd'))"],
        stdout=processes.PIPE,
    )
    said = asked.communicate()[0].decode()
    assert "s3cr3t" not in said
    assert "PATH" in said


def test_what_is_handed_over_shows_nowhere():
    program = (
        "import os\nfrom headrace.core import vault\nbefore = open('/proc/self/environ').read() + open('/proc/self/cmdline').read()\n"
        "vault.close()\nprint('s3cr' + '3t' in before + repr(dict(os.environ)), vault.read('SHOP_PASSWORD'))"
    )
    command = [sys.executable, "-P", "-c", program]
    asked = processes.start(command, secrets={"SHOP_PASSWORD": "s3cr3t"}, stdout=processes.PIPE)
    assert asked.communicate()[0] == b"False s3cr3t\n"


LENT = """\
import os, pathlib
from headrace.core import vault
from headrace.environments import config

vault.close()
prod = config.load(pathlib.Path(os.getcwd())).environment("prod")
vault.hold_credentials()
before = set(os.environ)
prod.tracking_url
with vault.lent():
    print(sorted(set(os.environ) - before))
print(sorted(set(os.environ) - before))
"""


def test_mlflow_is_lent_what_it_reads_and_no_other_secret(tmp_path):
    (tmp_path / "headrace.toml").write_text(
        '[project]\nname = "shop"\nmodule = "shop"\n[env.dev]\ntracking = {secret = "DEV_TRACKING"}\n[env.prod]\n'
        'tracking = {secret = "TRACKING"}\nstorage_options = {AWS_ENDPOINT_URL = {secret = "STORE"}}\n'
        'online = {secret = "ONLINE"}\ndatabases = {shop = {secret = "SHOP_PASSWORD"}}\n'
    )
    names = ("DEV_TRACKING", "TRACKING", "STORE", "ONLINE", "SHOP_PASSWORD", "HEADRACE_TOKEN", "AWS_SECRET_ACCESS_KEY")
    asked = subprocess.run(
        [sys.executable, "-P", "-c", LENT],
        cwd=tmp_path,
        env={**processes.environment(), **dict.fromkeys((*names, "https_proxy"), "http://s3cr3t")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout == "['AWS_SECRET_ACCESS_KEY', 'STORE', 'TRACKING', 'https_proxy']\n[]\n"


def test_fit_reads_the_token_of_the_caller(world, tmp_path):
    """As a command of its own, whose first environment the system shows."""
    seen = tmp_path / "seen"
    text = (world.folder / "shop.py").read_text()
    start, end = text.index("\n\ndef fit"), text.index("\n\nmodel =")
    world.release("v2.0.0", files={"shop.py": text[:start] + SPY.replace("FILE", repr(str(seen))) + text[end:]})
    secret = {
        "HEADRACE_TOKEN": world.tokens["eng"],
        "HEADRACE_ENV__prod__databases__shop": "postgresql://u:s3cr3t@host/db",
    }
    done = subprocess.run(
        [sys.executable, "-P", "-m", "headrace.cli", "run", "train", "--as-of", "2024-02-20", "--env", "prod"],
        cwd=world.folder,
        env={**os.environ, **world.variables, **secret},
        capture_output=True,
        text=True,
        check=False,
    )
    assert seen.exists(), done.stderr
    said = seen.read_text()
    assert world.tokens["eng"] not in said
    assert "s3cr3t" not in said
    assert not world.variables or world.variables["HEADRACE_ENV__prod__state"] not in said


IGNORED = (
    "credentials.json",
    "id_rsa",
    "prod.tfstate",
    "shop/limits.json",
    "local_settings.py",
    "deep/secrets/key.txt",
)


def project(folder):
    (folder / "shop").mkdir(parents=True)
    (folder / "shop" / "project.py").write_text("x = 1\n")
    (folder / "shop" / "table.json").write_text("{}")
    for name in IGNORED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("s3cr3t")
    return folder


def packed(folder, into, names):
    left_out = code.copy(folder, into, module="shop.project", names=names)
    return {str(each.relative_to(into)) for each in into.rglob("*") if each.is_file()}, left_out


def test_ignored_files_travel_with_a_model(tmp_path):
    folder = project(tmp_path / "project")
    names = {"shop/project.py", "shop/table.json"}
    found, left_out = packed(folder, tmp_path / "code", names)
    assert found == names
    assert set(left_out) == set(IGNORED)


def test_a_tracked_link_to_an_ignored_file(tmp_path):
    folder = project(tmp_path / "project")
    (folder / "shop" / "linked.json").symlink_to("../credentials.json")
    (folder / "shop" / "away.json").symlink_to("/etc/passwd")
    names = {"shop/project.py", "shop/linked.json", "shop/away.json"}
    assert packed(folder, tmp_path / "code", names)[0] == {"shop/project.py"}


def test_secrets_travel_where_there_is_no_git(tmp_path):
    folder = project(tmp_path / "project")
    found, left_out = packed(folder, tmp_path / "code", None)
    assert found == {"shop/project.py", "shop/table.json", "shop/limits.json", "local_settings.py"}
    assert set(left_out) == {"credentials.json", "id_rsa", "prod.tfstate", "deep/secrets/key.txt"}
