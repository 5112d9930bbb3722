-- One row each time that a delivery was recorded: a few are corrected later.
select
    deliveries.order_id,
    deliveries.recorded_at,
    date_diff('minute', orders.placed_at, deliveries.delivered_at) / 1440.0 as days
from landing.deliveries
join sales.orders on orders.order_id = deliveries.order_id
where deliveries.delivered_at is not null
