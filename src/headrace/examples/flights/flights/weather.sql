-- The hour's observation, on the wire a few minutes later.
select
    origin as airport, time_hour + interval '5 minutes' as available_at,
    temp, dewp, humid, wind_speed, precip, pressure, visib
from bronze.weather
