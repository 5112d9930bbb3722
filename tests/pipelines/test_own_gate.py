"""A project with a gate of its own: it fails, then asks for a person's look, then passes, each through the real command."""

from tests.cli.mini import program, write
from tests.support.people import enrol

GATE = """
LIMIT = 1
PNG = b"\\x89PNG\\r\\n\\x1a\\n rest"


def spread(evidence):
    rows = evidence.held_out
    errors = (rows.outputs.iloc[:, 0] - rows.labels).abs()
    shown = {
        "largest error": errors.max(),
        "by customer": errors.groupby(rows.rows["customer"]).max().reset_index(name="error").to_dict("records"),
        "plot": PNG,
    }
    return hr.ANSWER("the largest error was looked at", evidence=shown)


def beside(evidence):
    rows = evidence.comparison
    if len(rows.labels) == 0 or len(rows.champion) != len(rows.labels) or len(rows.challenger) != len(rows.labels):
        raise ValueError("no rows")
    return hr.passed(f"{len(rows.labels)} decisions", evidence={"rows": len(rows.labels)})

"""
DECLARED = 'gates=[hr.gate(spread, name="spread of errors"), hr.gate(beside, phase="compare")]'


def text(answer):
    return program(DECLARED).replace("model = hr.Model(", f"{GATE.replace('ANSWER', answer)}\nmodel = hr.Model(")


def test_a_gate_of_ones_own_fails_then_asks_for_a_look_then_passes(headrace, tmp_path):
    folder = write(tmp_path / "mini", deployment=DECLARED)
    people = enrol(headrace, folder, {"eng": "ml_engineer", "ann": "ml_engineer"})

    def command(*arguments, code=0, by="eng"):
        done = headrace.run(folder, *arguments, env={"HEADRACE_TOKEN": people[by]})
        assert done.code == code, done.stdout + done.stderr
        return done

    def deploy(answer, *, code):
        (folder / "mini.py").write_text(text(answer))
        return command("run", "deploy", "--version", "1", "--as-of", "2024-02-20", code=code)

    def latest(to):
        requests = command("request", "list", "--all", "--json").json()
        number = next(each["request"] for each in requests if each["to"] == to)
        return number, command("request", "show", str(number), "--json").json()

    (folder / "mini.py").write_text(text("failed"))
    command("run", "refresh")
    command("run", "train", "--as-of", "2024-02-01")

    refused = deploy("failed", code=1)
    assert "the largest error was looked at" in refused.stderr
    _, shown = latest("Archived")
    (finding,) = shown["evidence"]["findings"]
    assert (finding["gate"], finding["result"]) == ("spread of errors", "failed")
    assert 0 < finding["evidence"]["numbers"]["largest error"] < 5
    assert finding["evidence"]["tables"]["by customer"]["columns"] == ["customer", "error"]
    assert len(finding["evidence"]["tables"]["by customer"]["rows"]) == 7
    assert finding["evidence"]["pictures"]["plot"].startswith("data:image/png;base64,")

    waits = deploy("needs_review", code=3)
    assert "waits for approval by ml_engineer" in waits.stderr
    number, shown = latest("Staging")
    assert shown["missing"] == ["ml_engineer"]
    assert [each["result"] for each in shown["evidence"]["findings"]] == ["needs review"]
    assert deploy("needs_review", code=3).code == 3
    assert latest("Staging")[0] == number
    said = command("request", "show", str(number)).stdout
    assert "largest error: " in said
    assert "c3" in said
    assert "pictures, as data: URLs in --json: plot" in said
    command("request", "approve", str(number), code=3)
    command("request", "approve", str(number), by="ann")
    deploy("needs_review", code=0)
    _, shown = latest("Production")
    assert [each["result"] for each in shown["evidence"]["findings"]] == ["needs review", "passed"]

    deploy("passed", code=0)
    assert [each["stage"] for each in command("model", "history", "days", "--json").json()] == [
        "None",
        "Archived",
        "Staging",
        "Production",
    ]
