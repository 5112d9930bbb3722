"""The names that a serving protocol of your own needs: `hr.protocols`.

A protocol is an object of a subclass of `ServingProtocol`, in a module of the project or of an installed package.
`hr.Serve(protocols=["shop.rows:ROWS"])` names it, and every server of the model then has its paths.

Example:
    >>> class Rows(hr.protocols.ServingProtocol):
    ...     name = "rows"
    ...     routes = (hr.protocols.Route(pattern="/rows", predicts=True),)
    ...     def read(self, traffic, request, number):
    ...         raise hr.protocols.RefusedRequestError(503, "there is nothing to read yet")
    ...     def write(self, traffic, parts, number):
    ...         return hr.protocols.Answer(200, b"[]")
    >>> ROWS = Rows()
    >>> ROWS.refusal(503, "there is nothing to read yet")
    b'{"error_code":"TEMPORARILY_UNAVAILABLE","message":"there is nothing to read yet"}'
"""

from headrace.serving.messages import Answer, Event, RefusedRequestError, Request
from headrace.serving.protocols.base import ServingProtocol
from headrace.serving.protocols.prediction_request import RequestPart
from headrace.serving.route import Route
from headrace.serving.traffic import assigned

__all__ = ["Answer", "Event", "RefusedRequestError", "Request", "RequestPart", "Route", "ServingProtocol", "assigned"]
