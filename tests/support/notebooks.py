"""Notebooks in a real Jupyter kernel."""

from contextlib import contextmanager

import nbformat
from nbclient import NotebookClient

SECONDS = 300  # that a cell may take


class Kernel:
    """A kernel that runs cells one after the other.

    Args:
        client: whose kernel runs.
    """

    def __init__(self, client):
        self.client = client

    def run(self, source):
        """Runs one cell; gives its outputs. An error is an output, too."""
        cell = nbformat.v4.new_code_cell(source)
        self.client.nb.cells.append(cell)
        self.client.execute_cell(cell, len(self.client.nb.cells) - 1)
        return cell.outputs


@contextmanager
def kernel(folder):
    """A kernel whose working directory is a folder."""
    client = NotebookClient(
        nbformat.v4.new_notebook(),
        timeout=SECONDS,
        kernel_name="python3",
        allow_errors=True,
        resources={"metadata": {"path": str(folder)}},
    )
    with client.setup_kernel():
        yield Kernel(client)


def shown(outputs, kind="text/html"):
    """What a cell shows of a kind, together."""
    return "".join(each["data"].get(kind, "") for each in outputs if "data" in each)


def said(outputs):
    """What a cell prints on stdout and stderr."""
    return "".join(each["text"] for each in outputs if each["output_type"] == "stream")


def errors(outputs):
    """The errors of a cell, as they are shown."""
    return ["\n".join(each["traceback"]) for each in outputs if each["output_type"] == "error"]
