import os
import subprocess
import sys
import threading

import pytest

from headrace.core.errors import UnavailableError
from headrace.llm.gateway.call_scope import CallScope, CancelledCallsError
from headrace.testing import faults

from .conftest import ask, route


def test_a_gateway_that_is_closed_opens_again(gateway, endpoint):
    one = gateway(route(endpoint))
    one.complete(ask(), route="small")
    one.close()

    assert [each.name for each in threading.enumerate() if each.name == "llm-gateway"] == []
    assert one.complete(ask(), route="small").text == "echo of hello there"


def test_closing_ends_open_calls_and_records_them(gateway, endpoint, ledger):
    endpoint.set_faults(lambda _request: faults.timeout())
    one = gateway(route(endpoint, output_price=10**9))
    ended = []

    def call():
        try:
            one.complete(ask(), route="small")
        except BaseException as error:  # noqa: BLE001
            ended.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    while not endpoint.requests:
        thread.join(0.01)
    one.close()
    thread.join()

    assert len(ended) == 1
    assert [each.outcome for each in ledger.records] == ["cancelled"]
    assert ledger.open == {}


def test_a_usage_record_that_cannot_be_written_does_not_lose_the_answer(gateway, endpoint, caplog):
    from headrace.llm.gateway.metering import Metering

    class Broken:
        def settle_and_record(self, _budgets, _ended):
            raise OSError("no space left")

    one = gateway(route(endpoint), metering=Metering(usage=Broken()))
    assert one.complete(ask(), route="small").text == "echo of hello there"
    assert "its usage was not recorded (OSError)" in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_it_works_on_both_sides_of_a_fork(endpoint):
    program = f"""
import os, warnings
warnings.simplefilter("ignore")
from headrace.environments.llm import LlmConfig, LlmRoute
from headrace.llm.gateway.gateway import Gateway
from headrace.llm.gateway.requests import ChatRequest
route = LlmRoute(name="small", protocol="openai", url={endpoint.url!r}, model="m", timeout=10.0)
gateway = Gateway(LlmConfig(routes={{"small": route}}))
ask = lambda text: gateway.complete(ChatRequest([{{"role": "user", "content": text}}]), route="small").text
first = ask("parent")
read, write = os.pipe()
if os.fork() == 0:
    os.write(write, ask("child").encode())
    os._exit(0)
os.wait()
print(first, "|", os.read(read, 100).decode(), "|", ask("again"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)

    assert done.stderr == ""
    assert done.stdout.strip() == "echo of parent | echo of child | echo of again"


def test_a_route_that_nobody_can_reach_does_not_hang(gateway):
    from headrace.testing.llm_endpoint import Endpoint

    with Endpoint() as gone:
        pass
    with pytest.raises(UnavailableError):
        gateway(route(gone, attempts=2)).embed(["a"], route="small")


def test_a_scope_knows_the_routes_of_its_gateway(gateway, endpoint, backup):
    one = gateway(route(endpoint, fallback="large"), route(backup, "large"))
    scope = CallScope(one)

    assert scope.routes == one.routes == ("small", "large")
    assert scope.identities(["small"]) == one.identities(["small"])
    assert scope.identity("large") == one.identity("large")
    assert scope.complete(ask(), route="small").text == "echo of hello there"
    scope.close()
    with pytest.raises(CancelledCallsError):
        scope.complete(ask(), route="small")
    assert one.complete(ask(), route="small").text == "echo of hello there"
