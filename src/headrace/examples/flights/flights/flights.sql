-- One row a flight, as it turned out. Clock times become instants: a flight arrived when, first after its departure, the
-- clock at its destination showed arr_time. (Destinations that the register of airports lacks are around Puerto Rico.)
with scheduled as (
    select *, time_hour + minute * interval '1 minute' as sched_dep from bronze.flights
),
departed as (
    select
        scheduled.*,
        sched_dep + dep_delay * interval '1 minute' as departed_at,
        coalesce(airports.tzone, 'America/Puerto_Rico') as zone
    from scheduled left join bronze.airports on airports.faa = scheduled.dest
),
clocks as (  -- in minutes after midnight at the destination
    select
        *,
        hour(departed_at at time zone zone) * 60 + minute(departed_at at time zone zone) as clock_at_departure,
        arr_time // 100 * 60 + arr_time % 100 as clock_at_arrival
    from departed
)
select
    concat_ws('-', make_date(year, month, day), carrier, flight, origin) as flight_id,
    carrier, flight, tailnum, origin, dest, distance, sched_dep, dep_delay, departed_at, arr_delay,
    case when arr_delay is not null  -- otherwise cancelled, diverted or still to come
        then departed_at + (clock_at_arrival - clock_at_departure + 1440) % 1440 * interval '1 minute'
    end as arrived_at
from clocks
