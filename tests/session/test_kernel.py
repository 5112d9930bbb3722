"""A session in a real Jupyter kernel: what a cell shows, an error without a traceback, and a kernel that dies in a run."""

import pytest
from nbclient.exceptions import DeadKernelError
from tests.cli.mini import write
from tests.support.notebooks import errors, kernel, said, shown

OPEN = "import headrace as hr\ndev = hr.open()"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("kernel") / "mini", deployment="gates=[]")


def test_a_kernel_that_dies_in_a_training_loses_nothing(folder):
    with kernel(folder) as first:
        first.run(OPEN)
        assert "✓ build shop.orders: 120 rows" in said(first.run("dev.refresh()"))
        with pytest.raises(DeadKernelError):
            first.run("import os\nos.environ['HEADRACE_FAILPOINT'] = 'step.executed:fit'\ndev.train()")
    with kernel(folder) as second:
        second.run(OPEN)
        told = said(second.run("trained = dev.train()"))
        assert "· training set" in told
        assert "✓ register: version 1" in told
        again = said(second.run("trained = dev.train()"))
        assert "✓" not in again
        assert shown(second.run("trained.version, [each.attempt for each in dev.runs.list()]"), "text/plain") == (
            "(1, [1, 2, 1])"
        )
        assert shown(second.run("len(dev.models['days'].versions)"), "text/plain") == "1"


def test_a_mistake_in_a_cell_is_a_message(folder):
    with kernel(folder) as cell:
        cell.run(OPEN)
        (told,) = errors(cell.run("dev.profile('shop.order')"))
        assert told.startswith("NotFoundError: no table or file 'shop.order': did you mean 'shop.orders'?")
        assert "Traceback" not in told
        (told,) = errors(cell.run("dev.sql('select nothing from shop.orders')"))
        assert told.startswith("SqlError: ")
        assert "Traceback" not in told
        (told,) = errors(cell.run("1 / 0"))
        assert "Traceback" in told


def test_cells_show_tables_and_charts_and_print_nothing_else(folder):
    with kernel(folder) as cell:
        cell.run(OPEN)
        cell.run("dev.refresh()")
        for source, wanted in {
            "dev.tables": "<td",
            "dev.sql('select * from shop.orders')": "120 rows, the first 20 shown",
            "dev.profile('shop.orders')": "<svg",
            "dev.drift('shop.orders', 'shop.orders')": "<svg",
            "dev.runs": "refresh",
            "hr.open().tables['shop.orders'].history": "WRITE",
        }.items():
            outputs = cell.run(source)
            assert wanted in shown(outputs), source
            assert said(outputs) == ""
        assert shown(cell.run("dev"), "text/plain").startswith("<headrace dev:")
