"""The model that is deployed."""

from headrace.examples.flights.flights import project

arrival_delay = project.arrival_delay
