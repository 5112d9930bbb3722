-- How an airport is doing: a new row whenever a flight leaves it.
with departed as (
    select
        origin, departed_at as available_at,
        count(*) as flights,
        sum(greatest(-30, least(dep_delay, 300))) as delay
    from silver.flights
    where departed_at is not null
    group by origin, departed_at
)
select
    origin, available_at,
    sum(delay) over last_2h / sum(flights) over last_2h as dep_delay_2h,
    sum(flights) over last_2h as departures_2h
from departed
window last_2h as (partition by origin order by available_at range interval '2 hours' preceding)
