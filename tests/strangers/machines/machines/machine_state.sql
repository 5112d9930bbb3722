-- What a machine last sent: it was measured a little before it arrived.
select
    site,
    machine,
    sent_at,
    mode,
    temperature,
    max(vibration) over (partition by site, machine order by sent_at range interval '6 hours' preceding) as vibration_6h,
    pressure
from raw.readings
