-- One row a flight, with what is known when we are asked: an hour before it is due to leave.
select
    flight_id,
    sched_dep - interval '60 minutes' as predict_at,
    sched_dep,
    sched_dep at time zone 'America/New_York' as sched_dep_local,
    flights.carrier, airlines.name as airline, flight, flights.tailnum, origin, dest, distance,
    year(sched_dep) - planes.built as plane_age,
    planes.seats
from silver.flights
left join silver.planes on planes.tailnum = flights.tailnum
left join bronze.airlines on airlines.carrier = flights.carrier
