-- How fast a warehouse has been over a week: a new row whenever one of its deliveries is recorded.
with recorded as (
    select orders.ships_from as warehouse_id, deliveries.recorded_at as available_at, sum(days) as days, count(*) as n
    from sales.deliveries
    join sales.orders on orders.order_id = deliveries.order_id
    group by orders.ships_from, deliveries.recorded_at
)
select
    warehouse_id,
    available_at,
    sum(days) over week / sum(n) over week as days_7d,
    sum(n) over week as deliveries_7d
from recorded
window week as (partition by warehouse_id order by available_at range interval '7 days' preceding)
