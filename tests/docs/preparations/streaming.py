"""The model and the table that are streamed."""

from headrace.examples.flights.flights import project

arrival_delay, departures = project.arrival_delay, project.departures
