-- How punctual a carrier's flights from one origin have been lately: a new row whenever one of them arrives.
with arrived as (
    select
        carrier, origin, arrived_at as available_at,
        count(*) as flights,
        count(*) filter (where arr_delay > 15) as late,
        sum(greatest(-30, least(arr_delay, 300))) as delay
    from silver.flights
    where arrived_at is not null
    group by carrier, origin, arrived_at
)
select
    carrier, origin, available_at,
    sum(late) over last_3h / sum(flights) over last_3h as late_rate_3h,
    sum(late) over last_24h / sum(flights) over last_24h as late_rate_24h,
    sum(late) over last_7d / sum(flights) over last_7d as late_rate_7d,
    sum(delay) over last_24h / sum(flights) over last_24h as delay_24h
from arrived
window
    last_3h as (partition by carrier, origin order by available_at range interval '3 hours' preceding),
    last_24h as (partition by carrier, origin order by available_at range interval '24 hours' preceding),
    last_7d as (partition by carrier, origin order by available_at range interval '7 days' preceding)
