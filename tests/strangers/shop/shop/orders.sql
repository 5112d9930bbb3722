-- Exports overlap: the latest line of an order counts.
with exports as (
    select *, row_number() over (partition by order_id order by exported_at desc) as age
    from landing.orders
)
select
    exports.order_id,
    exports.customer_id,
    exports.warehouse_id as ships_from,
    warehouses.region,
    exports.placed_at,
    exports.express,
    exports.weight_kg,
    exports.amount_cents
from exports
left join landing.warehouses on warehouses.warehouse_id = exports.warehouse_id
where exports.age = 1
