"""The names that an external serving protocol needs: `hr.protocols`.

import headrace as hr

class Rows(hr.protocols.ServingProtocol):
name = "rows"
routes = (hr.protocols.Route(pattern="/rows", predicts=True),)
…

ROWS = Rows()                      # hr.Serve(protocols=["my_project.rows:ROWS"])
"""

from headrace.serving.messages import Answer, Event, RefusedRequestError, Request
from headrace.serving.protocols.base import ServingProtocol
from headrace.serving.protocols.prediction_request import RequestPart
from headrace.serving.route import Route
from headrace.serving.traffic import assigned

__all__ = ["Answer", "Event", "RefusedRequestError", "Request", "RequestPart", "Route", "ServingProtocol", "assigned"]
