-- The rate of one caller, for all proxies: a bucket of tokens.
-- KEYS: the bucket. ARGV: requests a second, the most at once, how many are
-- wanted, how many come back unused.
local rate, burst, want, back = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local tokens, at = burst, now
local version, had, since = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (%S+) (%d+)$')
if version == '1' then
	since = tonumber(since)
	tokens, at = tonumber(had), now
	if now > since then tokens = tokens + (now - since) * rate / 1000000 end
	tokens = math.min(burst, tokens + back)
elseif version then
	return {'version'}
end
local taken = math.min(want, math.floor(tokens + 0.000001))
local wait = 0
if taken < 1 then
	taken, wait = 0, math.ceil((1 - tokens) / rate * 1000000)
end
tokens = math.max(0, tokens - taken)
local full = math.ceil((burst - tokens) / rate * 1000) + 1000
redis.call('SET', KEYS[1], string.format('1 %.6f %.0f', tokens, at), 'PX', string.format('%.0f', math.min(full, 86400000)))
return {'ok', taken, wait}
