-- With what delay an aircraft last left New York.
select tailnum, departed_at as available_at, dep_delay
from silver.flights
where tailnum is not null and departed_at is not null
