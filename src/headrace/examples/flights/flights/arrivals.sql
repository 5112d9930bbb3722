-- The label. It is known when the flight arrives; a cancelled or diverted flight never gets one.
select flight_id, arrived_at as known_at, arr_delay > 15 as late, arr_delay
from silver.flights
where arrived_at is not null
