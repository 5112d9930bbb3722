import json

import pytest
from tests.support.merge_requests import GitHubHost, GitLabHost, document, running


@pytest.fixture(params=[GitHubHost, GitLabHost], ids=["github", "gitlab"])
def host(request):
    with running(request.param) as made:
        yield made


@pytest.fixture
def variables(host, tmp_path):
    """Of a job about the merge request."""
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"pull_request": {"number": 7}}))
    return host.variables_of(host.url, str(event))


@pytest.fixture
def written(tmp_path):
    """Writes a report."""

    def write(**changes):
        file = tmp_path / "report.json"
        file.write_text(json.dumps(document(**changes)))
        return file

    return write
