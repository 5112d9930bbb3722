"""kill -9 inside every step and at every boundary of the whole loop, then the same command again.

The places come from the run ledger of an undisturbed project, not from a clock. One project is killed at one place after
the other, each time where it had come to, until it is through; what it holds then must be what the undisturbed one holds.
"""

import os
import signal
import sqlite3
from contextlib import closing

import pytest
from deltalake import DeltaTable
from tests.strangers.conftest import project

LOOP = (  # job, arguments, exit code
    ("refresh", ["refresh"], 0),
    ("train delivery_days", ["train", "--as-of", "2024-04-01"], 0),
    ("deploy delivery_days", ["deploy", "--as-of", "2024-04-01"], 0),
    ("score delivery_days", ["score", "--as-of", "2024-06-15", "--until", "2024-05-28"], 0),
    ("publish", ["publish", "--as-of", "2024-05-01"], 0),
    (
        "parity-check delivery_days",
        ["parity-check", "--since", "2024-04-01", "--until", "2024-05-01", "--rows", "4"],
        0,
    ),
    ("monitor delivery_days", ["monitor", "--as-of", "2024-06-01"], 1),
    (
        "retrain delivery_days",
        ["retrain", "--as-of", "2024-06-01"],
        None,
    ),  # whatever the comparison says, twice the same
)
OWN_TIMES = {"_written_at", "scored_at", "measured_at", "at", "answered_at"}
RUN_OF_ITS_OWN = {"run_id", "step", "comparison_id", "place"}  # ids and the order of groups differ from run to run
MOVES = ("Staging,", "Production,", "Archived,")
TRIED_AGAIN = {
    "inference.delivery_days",
    "metrics.serving",
    "metrics.skew",
}  # what a rehearsal asks again is another request


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    from tests.strangers.data import write_shop

    folder = tmp_path_factory.mktemp("files") / "data"
    write_shop(folder, orders=600)
    return folder


@pytest.fixture(scope="module")
def undisturbed(headrace, files, tmp_path_factory):
    folder = project("shop", files, tmp_path_factory.mktemp("undisturbed"))
    for _, arguments, code in LOOP:
        done = headrace.run(folder, "run", *arguments)
        assert done.code in ({0, 1} if code is None else {code}), done.stderr
    return folder


def ledger(folder, query, *values):
    with closing(sqlite3.connect(folder / ".headrace" / "dev" / "state.db")) as connection:
        return connection.execute(query, values).fetchall()


def steps(folder, job, *, which="asc"):
    """Of the first run of a job, or of the last one (`desc`)."""
    run = f"select id from job_runs where job = ? order by started {which} limit 1"
    return [name for (name,) in ledger(folder, f"select name from job_steps where run_id = ({run}) order by seq", job)]


def places(folder, job, *, which="asc"):
    """Every place where a run of this job can die: at its ends, around each step, and around each commit inside one.

    A version that has moved is where it is, and a request that was made stands: the next attempt begins after that step. So
    each such step dies in one of the places after its effect, a different one for each.
    """
    found = [f"run.opened:{job}"]
    for place, name in enumerate(steps(folder, job, which=which)):
        after = [f"step.executed:{name}", f"step.finished:{name}"]
        if name.split()[0] in MOVES:
            moving, moved = inside(folder, name)
            found += [f"step.started:{name}", moving, [moved, *after][place % 3]]
        elif name.startswith("ask for Production"):
            found += [f"step.started:{name}", after[place % 2]]
        else:
            found += [f"step.started:{name}", *inside(folder, name), *after]
    return [*found, f"run.closing:{job}"]


def inside(folder, step):
    """Places within a step; of a step that is a run of its own, those of that run."""
    what, _, of = step.partition(" ")
    if what in ("load", "build"):
        return commits(of)
    if what == "score":
        return commits("answers.delivery_days")
    if what == "publish":
        return [f"online.written:{of}", f"online.committed:{of}"]
    if what in ("window", "baseline"):
        return commits("answers.delivery_days_profile_metrics")
    if what == "compare":
        return commits("metrics.comparisons")
    if what in MOVES:
        return [f"registry.{moment}:delivery_days/{of.split()[1]}" for moment in ("moving", "moved")]
    if step == "training set":
        return commits("training.delivery_days")
    if step in ("train", "deploy"):
        return places(folder, f"{step} delivery_days", which="desc")
    return commits("metrics.model_quality") if what == "quality" else []


def commits(table):
    return [f"commit.computed:{table}", f"commit.committed:{table}"]


def contents(folder):
    """Every table's rows, without what is bound to differ: times of writing and ids of runs."""
    root = folder / ".headrace" / "dev" / "lakehouse"
    found = {}
    for log in sorted(root.glob("*/*/_delta_log")):
        name = f"{log.parent.parent.name}.{log.parent.name}"
        table = DeltaTable(str(log.parent)).to_pyarrow_table()
        columns = [column for column in table.column_names if column not in OWN_TIMES | RUN_OF_ITS_OWN]
        rows = [{key: rounded(value) for key, value in row.items()} for row in table.select(columns).to_pylist()]
        found[name] = sorted(map(repr, rows))
    return found


def rounded(value):
    """Sums over rows that are added up by two threads differ in the last bit."""
    return float(f"{value:.9g}") if isinstance(value, float) else value


@pytest.fixture(scope="module")
def killed(headrace, files, undisturbed, tmp_path_factory):
    """A project that died at every place, one after the other. Gives its folder and the places where it died."""
    folder = project("shop", files, tmp_path_factory.mktemp("killed"))
    died, missed = [], []
    for job, arguments, code in LOOP:
        for place in places(undisturbed, job):
            done = headrace.run(folder, "run", *arguments, failpoint=place)
            if done.signal == signal.SIGKILL:
                died.append(place)
            else:
                assert done.code in ({0, 1, 3} if code is None else {code}), f"{place}: {done.stderr}"
                missed.append(place)
                break  # it is through; what comes now would be another run
        done = headrace.run(folder, "run", *arguments)  # the last place was before its end
        assert done.code in ({0, 1} if code is None else {code}), done.stderr
    return folder, died, missed


def test_it_died_at_every_place_of_every_pipeline(killed, undisturbed):
    _, died, missed = killed

    assert missed == []
    assert died == [place for job, _, _ in LOOP for place in places(undisturbed, job)]
    assert len(died) > 200


def test_rows_are_what_an_undisturbed_run_gives(killed, undisturbed):
    folder, _, _ = killed
    expected, found = contents(undisturbed), contents(folder)

    assert found.keys() == expected.keys()
    for name in expected.keys() - TRIED_AGAIN:
        assert found[name] == expected[name], name


def test_every_answer_of_a_rehearsal_is_logged_once(killed):
    folder, _, _ = killed
    logged = DeltaTable(str(folder / ".headrace/dev/lakehouse/inference/delivery_days")).to_pyarrow_table()
    requests = logged.column("request_id").to_pylist()

    assert len(requests) == len(set(requests)) >= 4
    assert list((folder / ".headrace/dev/spool/delivery_days").glob("*.sealed")) == []


def shown(headrace, folder, *arguments):
    """A read, without moments, ids of runs and what depends on them."""
    moving = {
        "created",
        "at",
        "run_id",
        "model_uri",
        "step_key",
        "opened",
        "closed",
        "expires",
        "evidence_hash",
        "seal",
        "code",
    }
    rows = headrace.run(folder, *arguments, "--json").json()
    return [{name: value for name, value in row.items() if name not in moving} for row in rows]


@pytest.mark.parametrize(
    "arguments",
    [
        ["model", "list"],
        ["model", "history", "delivery_days"],
        ["request", "list", "--all"],
        ["alert", "list", "--all"],
    ],
    ids=" ".join,
)
def test_versions_stages_decisions_and_alerts_are_what_an_undisturbed_run_gives(
    killed, undisturbed, headrace, arguments
):
    folder, _, _ = killed
    assert shown(headrace, folder, *arguments) == shown(headrace, undisturbed, *arguments)


def test_the_audit_tells_the_same_and_is_whole(killed, undisturbed, headrace):
    told = [
        [
            (entry["action"], entry["object"])
            for entry in headrace.run(folder, "audit", "--limit", "1000", "--json").json()
        ]
        for folder in (undisturbed, killed[0])
    ]

    # a run within a run that ended just before the outer one could note it is begun again, and finds everything done
    began, others = (
        [[entry for entry in of if (entry[0] == "run.started") == wanted] for of in told] for wanted in (True, False)
    )
    assert others[0] == others[1]
    assert set(began[0]) == set(began[1])
    assert headrace.run(killed[0], "audit", "--verify").code == 0


def test_nothing_is_left_running(killed):
    folder, _, _ = killed
    assert ledger(folder, "select job from job_runs where status = 'running'") == []
    assert ledger(folder, "select name from job_steps where status = 'running'") == []
    with closing(sqlite3.connect(folder / ".headrace" / "dev" / "mlflow.db")) as connection:
        assert connection.execute("select run_uuid from runs where status = 'RUNNING'").fetchall() == []
        assert connection.execute("select count(*) from model_versions").fetchall() == [(2,)]


def test_a_finished_step_is_not_repeated(headrace, undisturbed, files, tmp_path):
    """Killed once in the middle: what was done before stays as it was, attempt and all."""
    folder = project("shop", files, tmp_path)
    names = steps(undisturbed, "refresh")
    middle = names[len(names) // 2]
    assert headrace.run(folder, "run", "refresh", failpoint=f"step.started:{middle}").signal == signal.SIGKILL
    before = ledger(folder, "select name, started, ended from job_steps where status = 'done' order by seq")
    done = headrace.run(folder, "run", "refresh")

    assert done.code == 0, done.stderr
    assert [row[0] for row in before] == names[: len(names) // 2]
    assert (
        ledger(folder, "select name, started, ended from job_steps where status = 'done' order by seq")[: len(before)]
        == before
    )
    assert ledger(folder, "select attempt, status from job_runs") == [(2, "done")]


def test_two_at_once_one_works_and_the_other_says_who(headrace, files, tmp_path):
    import subprocess
    import sys

    folder = project("shop", files, tmp_path)
    (folder / "shop" / "project.py").write_text(
        (folder / "shop" / "project.py")
        .read_text()
        .replace(
            '    """Where the warehouses are; the list lives in somebody\'s head."""',
            "    import pathlib, time\n    pathlib.Path('waiting').touch()\n"
            "    while not pathlib.Path('go').exists():\n        time.sleep(0.01)",
        )
    )
    command = [sys.executable, "-m", "headrace.cli", "run", "refresh"]
    first = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, env=os.environ)
    while not (folder / "waiting").exists():
        assert first.poll() is None, first.stderr.read()
    second = headrace.run(folder, "run", "refresh")
    (folder / "go").touch()
    _, said = first.communicate()

    assert first.returncode == 0, said
    assert second.code == 3
    assert f"{first.pid}" in second.stderr
    assert "refresh is being run by" in second.stderr
