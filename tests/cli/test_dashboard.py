"""`headrace dashboard`: files to drafts and back, answers, and the file that travels."""

import json

from .mini import write

TOML = """\
title = "Sold"

[[tile]]
title = "Orders"
width = 6
parameters = [
  { name = "most", kind = "number", default = "1000" },
]
sql = '''
select count(*) as orders from shop.orders where id < :most
'''

[[tile]]
title = "Broken"
width = 6
sql = '''
select * from shop.nothing
'''
"""


def test_a_dashboard_goes_from_a_file_to_a_draft_and_back_and_out(headrace, tmp_path):
    folder = write(tmp_path / "mini")
    assert headrace.run(folder, "run", "refresh").code == 0
    file = folder / "dashboards" / "sold.toml"
    file.parent.mkdir()
    file.write_text(TOML)
    assert headrace.run(folder, "dashboard", "push", "--json").json()[0]["result"] == "saved"
    file.unlink()
    assert headrace.run(folder, "dashboard", "pull", "sold").code == 0
    assert file.read_text() == TOML

    refreshed = headrace.run(folder, "dashboard", "refresh", "sold")
    assert (refreshed.code, "sold is refreshed: 2 tiles, 1 failed." in refreshed.stderr) == (1, True)
    assert "Broken: " in refreshed.stderr
    shown = headrace.run(folder, "dashboard", "show", "sold", "--json").json()
    assert shown["tiles"][0]["result"]["rows"] == [{"orders": 120}]
    assert "120" in headrace.run(folder, "dashboard", "show", "sold").stdout
    few = headrace.run(folder, "dashboard", "show", "sold", "--param", "most=7", "--json").json()
    assert few["tiles"][0]["result"]["rows"] == [{"orders": 7}]
    listed = headrace.run(folder, "dashboard", "list", "--json").json()
    assert [(each["origin"], each["differs"]) for each in listed] == [("project", None), ("draft", [])]

    made = headrace.run(folder, "dashboard", "export", "sold", "--output", "sold.html")
    assert made.code == 0, made.stderr
    text = (folder / "sold.html").read_text()
    assert ("<strong>120</strong>" in text, "<script" in text) == (True, False)

    assert headrace.run(folder, "dashboard", "delete", "sold").code == 0
    gone = headrace.run(folder, "dashboard", "show", "sold", "--draft")
    assert (gone.code, "no draft of a dashboard 'sold'" in gone.stderr) == (2, True)
    file.write_text(TOML.replace("width", "widht", 1))
    wrong = headrace.run(folder, "dashboard", "push")
    assert (wrong.code, "Did you mean 'width'?" in wrong.stderr, "Traceback" in wrong.stderr) == (2, True, False)
    assert json.loads(headrace.run(folder, "dashboard", "list", "--json").stdout)[0]["error"]
