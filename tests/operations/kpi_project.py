"""A project with a business figure, two versions that were scored on the same rows, and their figures."""

from tests.cli import mini

SELECT = """
        select p.model_version, p.decision_time, abs(p.prediction - o.days) as value
        from answers.days p left join shop.labels o on o.id = p.id
"""
KPI = f'hr.kpi("days_off", """{SELECT}""", better="lower", unit="days", description="Days by which we are off")'
SCORE = "score --since 2024-02-01"
DEPLOYMENT = f'serve=hr.Serve(), monitor=hr.Monitor(window="1w", kpis=[{KPI}])'


def build(headrace, folder):
    """Two versions that predicted the same orders; the second one, which is in Production, knows the days better."""
    mini.write(folder, deployment=DEPLOYMENT)
    program = folder / "mini.py"
    text = program.read_text()
    program.write_text(text.replace("return numpy.full(len(X), self.value)", "return numpy.full(len(X), 9.0)"))
    run(headrace, folder, "refresh", "train", "deploy", SCORE)
    program.write_text(text.replace("fit=fit,", 'fit=fit, params={"depth": 3},'))
    run(headrace, folder, "train", "deploy", SCORE, "monitor")
    return folder


def run(headrace, folder, *pipelines):
    for each in pipelines:
        done = headrace.run(folder, "run", *each.split())
        assert done.code == 0, done.stderr
