"""Endpoints: who answers and how fast, what is not known, and changing it: the split, a stop, a rollback."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest
from tests.cli import mini
from tests.console.conftest import Browser
from tests.deployment.conftest import World

from headrace.console.app import create_app
from headrace.core import vault
from headrace.operations import access
from headrace.operations.deploy import deploy
from headrace.operations.operation import At
from headrace.operations.refresh import refresh
from headrace.operations.traffic import show_traffic
from headrace.operations.train import train
from headrace.workspace.workspace import open_workspace

DEPLOYED = 'serve=hr.Serve(p95="20ms"), gates=[hr.signature()]'
ROLLED_OUT = 'rollout=hr.Rollout(steps=("5%", "50%"), every="1h", min_requests=10, by=("customer",))'
PAGE = "/dev/endpoints/days"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Version 1 was in Production, 2 is there, and 3 is on its rollout. Gives the folder and the tokens."""
    folder = mini.write(tmp_path_factory.mktemp("served") / "mini", deployment=DEPLOYED)
    at = At(folder=folder)
    tokens = {"admin": access.bootstrap(at).token}
    with vault.bearing(tokens["admin"]):
        for name, role in {"eng": "ml_engineer", "ana": "data_scientist"}.items():
            access.grant_role(at, name, role)
            tokens[name] = access.create_access_token(at, name).token
    with vault.bearing(tokens["eng"]):
        refresh(at)
        for day in (10, 15, 20):
            if day == 20:
                (folder / "mini.py").write_text(mini.program(f"{DEPLOYED}, {ROLLED_OUT}"))
            train(at, "days", as_of=datetime(2024, 2, day, tzinfo=UTC))
            deploy(at, "days", as_of=datetime(2024, 2, day, tzinfo=UTC))
    return folder, tokens


@pytest.fixture
def folder(served, tmp_path):
    return shutil.copytree(served[0], tmp_path / "mini", symlinks=True)


@pytest.fixture
def eng(served, folder):
    """A browser of the engineer's console of a copy."""
    with vault.bearing(served[1]["eng"]):
        yield Browser(create_app(folder))


def split(folder):
    return dict(show_traffic(At(folder=folder), "days").candidates)


def test_what_no_server_has_reported_is_said_to_be_unknown(eng):
    for path in ("/dev/endpoints", PAGE):
        text = eng.get(path).text
        assert "no server of dev has ever reported" in text
        assert "20 ms" in text
        assert "95 %" in text
        assert "5 %</td>" in text
    assert "0.00 %" not in text


def test_figures_stand_against_the_limit(eng, folder):
    with open_workspace("dev", folder=folder) as workspace:
        world = World(workspace.lakehouse)
        world.count(2, "primary", "days.1", 200, errors=4)
        world.count(3, "candidate", "days.1", 100, slow=50)
        world.count(1, "primary", "", 7, at=datetime.now(UTC) - timedelta(days=3))
    for path in ("/dev/endpoints", PAGE):
        text = eng.get(path).text
        assert "4 (2.00 %)" in text
        assert text.count('<span class="status bad">slow</span>') == 1
        assert "not known: no server" not in text
    assert "Their last report is of" in text
    assert '<span class="status good">within</span> 20 ms' in text


def test_a_rollout_says_where_it_is_and_what_it_waits_for(eng):
    text = eng.get(PAGE).text
    assert "Rollout of version 3" in text
    assert "at step 1 of 2" in text
    assert "0 of 10 requests" in text


def test_a_stop_takes_a_reason_and_is_in_the_history(eng, folder):
    form = eng.form(PAGE)
    empty = eng.post(f"{PAGE}/stop", form=form, reason=" ")
    assert (empty.status, "without a reason" in empty.text) == (403, True)
    assert split(folder) == {"3": 0.05}
    assert eng.post(f"{PAGE}/stop", form=form, reason="<b>enough</b>").headers["location"] == PAGE
    assert split(folder) == {}
    text = eng.get(PAGE).text
    assert "&lt;b&gt;enough&lt;/b&gt;" in text
    assert "ended" in text
    assert 'id="stop"' not in text


def test_the_split_is_set_and_a_stale_form_is_told(eng, folder):
    eng.post(f"{PAGE}/stop", form=eng.form(PAGE), reason="by hand")
    number = show_traffic(At(folder=folder), "days").number
    fields = {"form": eng.form(PAGE), "expect": number, "reason": "to see", "share-1": "12.5", "share-3": "", "by": ""}
    assert eng.post(f"{PAGE}/split", **fields).status == 303
    assert split(folder) == {"1": 0.125}
    late = eng.post(f"{PAGE}/split", **{**fields, "share-1": "30", "reason": "my long reason"})
    assert (late.status, 'role="alert"' in late.text) == (409, True)
    assert "my long reason</textarea>" in late.text
    assert 'value="30"' in late.text
    assert split(folder) == {"1": 0.125}
    done = eng.post(f"{PAGE}/split", **{**fields, "expect": number + 1, "share-1": "0"})
    assert (done.status, split(folder)) == (303, {})


@pytest.mark.parametrize("share", ["x", "nan", "-1", "101", "1e400"])
def test_what_is_no_share_is_told_and_kept(eng, folder, share):
    found = eng.post(f"{PAGE}/split", form=eng.form(PAGE), reason="r", **{"share-1": share})
    assert (found.status, "is no share for version 1" in found.text) == (422, True)
    assert f'value="{share}"' in found.text
    assert split(folder) == {"3": 0.05}


def test_a_rollback_says_what_changes_and_changes_that(eng, folder):
    text = eng.get(f"{PAGE}/rollback").text
    assert "leaves Production" in text
    assert '<input type="hidden" name="to" value="1">' in text
    assert '<input type="hidden" name="expect" value="2">' in text
    assert "ends the share of version 3, 5 %, and the rollout of version 3" in text
    assert "highest environment" not in text
    fields = {"form": eng.form(f"{PAGE}/rollback"), "to": 1, "expect": 2}
    assert eng.post(f"{PAGE}/rollback", **fields, reason="").status == 403
    assert eng.post(f"{PAGE}/rollback", **fields, reason="worse").headers["location"] == PAGE
    assert show_traffic(At(folder=folder), "days").primary == 1

    late = eng.post(f"{PAGE}/rollback", **fields, reason="I did not look")
    assert (late.status, "version 2 of days is not in Production any more" in late.text) == (409, True)
    nothing = eng.get(f"{PAGE}/rollback").text
    assert "It cannot be rolled back now" in nothing
    assert f'href="{PAGE}/rollback?to=2"' in nothing
    assert '<input type="hidden" name="to" value="2">' in eng.get(f"{PAGE}/rollback?to=2").text


def test_in_the_highest_environment_the_name_is_typed(served, folder):
    file = folder / "headrace.toml"
    file.write_text(file.read_text().replace("[env.live]\n", ""))
    with vault.bearing(served[1]["eng"]):
        browser = Browser(create_app(folder))
        fields = {"form": browser.form(f"{PAGE}/rollback"), "to": 1, "expect": 2, "reason": "kept reason"}
        assert "Type the name of the model, days," in browser.get(f"{PAGE}/rollback").text
        wrong = browser.post(f"{PAGE}/rollback", **fields, name="day")
        assert (wrong.status, "kept reason</textarea>" in wrong.text) == (422, True)
        assert show_traffic(At(folder=folder), "days").primary == 2
        assert browser.post(f"{PAGE}/rollback", **fields, name="days").status == 303
        assert show_traffic(At(folder=folder), "days").primary == 1


@pytest.mark.parametrize(("path", "fields"), [("stop", {}), ("split", {"share-1": "5"}), ("rollback", {"to": "1"})])
def test_who_may_not_is_told_and_keeps_the_text(served, folder, path, fields):
    with vault.bearing(served[1]["ana"]):
        browser = Browser(create_app(folder))
        found = browser.post(f"{PAGE}/{path}", form=browser.form(PAGE), reason="my long text", **fields)
        assert (found.status, "ana may not" in found.text) == (403, True)
        assert "my long text</textarea>" in found.text
        assert browser.post(f"{PAGE}/{path}", form="", reason="forged", **fields).status == 403
        assert (split(folder), show_traffic(At(folder=folder), "days").primary) == ({"3": 0.05}, 2)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/dev/endpoints/dais", "days"),
        (f"{PAGE}/rollback?to=9", "9"),
        (f"{PAGE}/rollback?to=<b>", "&lt;b&gt;"),
        ("/dev/endpoints/dais/rollback", "days"),
    ],
)
def test_what_is_not_there_is_told_with_a_way_back(eng, path, told):
    found = eng.get(path)
    assert (found.status, told in found.text, 'href="/dev"' in found.text) == (404, True, True)
