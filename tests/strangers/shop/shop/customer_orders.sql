-- How many orders a customer has placed, the one just placed among them.
with placed as (
    select customer_id, placed_at as available_at, count(*) as n
    from sales.orders
    group by customer_id, placed_at
)
select
    customer_id,
    available_at,
    sum(n) over (partition by customer_id order by available_at) as orders_so_far
from placed
