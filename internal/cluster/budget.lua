-- One budget of several proxies: what was spent of it in the window, what each
-- proxy holds of the rest, and what may be granted to the one that asks.
--
-- KEYS: the record, the ring. ARGV: see statement in budget.go.
-- Instants and durations are microseconds.
--
-- A proxy tells what it has settled as sums of all that it ever settled, so a
-- statement that is lost, or told twice, is made good by the next. What it holds
-- (in flight, or in its pocket) is a promise for the time of a lease. Whoever is
-- not heard of for longer may have spent all of it: that is then counted as
-- spent, and taken back when he returns and tells what was really spent.
local VERSION = 1
local SLICES = 256 -- of the ring, one more than a window has

-- Fields of the record.
local V, GEN, NOW, RAW, SLICE, NEWEST, SUM, MILLIS, BORN, YOUNG, TOKENS, FILLED, NUMBER, LEARNED, MEMBERS, STRETCHED, RALLIED, EXPECTED = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18
-- Fields of a member.
local SEQ, LEASE, REQS, MS, HOLD, HOLDMS, PLACES, INUSE, NEED, KEPT, KEPTUNTIL, WEIGHT, WISH, CREDIT, PRESUMED, PRESUMEDMS, AT, SINCE, WAITING = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19

local floor, min, max = math.floor, math.min, math.max
local record, ring = KEYS[1], KEYS[2]

local function clock()
	local t = redis.call('TIME')
	return t[1] * 1000000 + t[2]
end

local id, gen, learned, numbers, lines, settled = unpack(ARGV)
local seq, lease, seen, after, before, span, reqs, ms, inflight, pocket, pending, guess,
	rate, burst, limit, mslimit, testing, need, want, needreserved, wantreserved, kept, keptfor, weight,
	inuse, held, wish, places, known, size, away = struct.unpack('<' .. string.rep('d', 31), numbers)
-- pairs of a caller that waits and its weight
local waiting = {struct.unpack('<' .. string.rep('d', #lines / 8), lines)}
waiting[#waiting] = nil -- where the reader stands
-- age, requests, milliseconds, the oldest first
local function amounts()
	local at = 1
	return function()
		if at > #settled then return end
		local age, r, m
		age, r, m, at = struct.unpack('<ddd', settled, at)
		return age, r, m
	end
end

local raw = clock()
local slice = math.ceil(span / (SLICES - 1))
local s = redis.call('GET', record)
if s then
	local ok
	ok, s = pcall(cmsgpack.unpack, s)
	if not ok or type(s) ~= 'table' or s[V] ~= VERSION then
		return {'version', tostring(ok and type(s) == 'table' and s[V])}
	end
end
if not s then
	if gen ~= '' then return {'unknown'} end
	s = {VERSION, string.format('%.0f', raw), raw, raw, slice, floor(raw / slice), 0, 0, raw, 0, burst, raw, 0, '', {}, raw, raw, 0}
	redis.call('DEL', ring)
end
local me = s[MEMBERS][id]
if gen ~= '' and (gen ~= s[GEN] or not me) then return {'unknown'} end
if me and seq <= me[SEQ] then return {'late'} end

-- Time goes neither back nor further than this proxy saw it go.
local now = s[NOW] + raw - s[RAW]
if gen ~= '' then
	if now > seen + before + 250000 then now = seen + before end -- a step of the clock, not a slow way
	now = max(now, seen + after)
end
now = max(now, s[NOW])
s[NOW], s[RAW] = now, raw

-- book counts an amount in the slice of that number.
local booked = false
local function book(k, r, m)
	if k <= s[NEWEST] - SLICES or r == 0 and m == 0 then return end
	booked = true
	if s[SUM] == 0 and s[MILLIS] == 0 then -- whole, since a text that grows takes twice what it holds
		redis.call('SET', ring, string.rep('\0', SLICES * 8))
	end
	local at = k % SLICES * 2
	redis.call('BITFIELD', ring, 'OVERFLOW', 'SAT', 'INCRBY', 'u32', '#' .. at, r, 'INCRBY', 'u32', '#' .. at + 1, m)
	s[SUM], s[MILLIS] = s[SUM] + r, s[MILLIS] + m
end

local function advance()
	local newest = floor(now / s[SLICE])
	local from = s[NEWEST] + 1
	s[NEWEST] = newest
	if s[SUM] == 0 and s[MILLIS] == 0 then return end
	if newest - from >= SLICES - 1 then
		redis.call('DEL', ring)
		s[SUM], s[MILLIS] = 0, 0
		return
	end
	while from <= newest do
		local at = from % SLICES
		local n = min(newest - from + 1, SLICES - at)
		local bytes = redis.call('GETRANGE', ring, at * 8, (at + n) * 8 - 1)
		local r, m = 0, 0
		for i = 1, #bytes - 7, 8 do
			local a, b = struct.unpack('>I4I4', bytes, i)
			r, m = r + a, m + b
		end
		if r > 0 or m > 0 then
			redis.call('SETRANGE', ring, at * 8, string.rep('\0', #bytes))
			s[SUM], s[MILLIS] = s[SUM] - r, s[MILLIS] - m
		end
		from = from + n
	end
end

-- stretch gives the window another span. Who has the longest decides, until he
-- has not said so for a lease.
local function stretch()
	if slice == s[SLICE] then s[STRETCHED] = now return end
	if slice < s[SLICE] and now - s[STRETCHED] <= lease then return end
	local bytes, old, newest = redis.call('GET', ring) or '', s[SLICE], s[NEWEST]
	redis.call('DEL', ring)
	for _, m in pairs(s[MEMBERS]) do m[PRESUMED], m[PRESUMEDMS] = 0, 0 end -- no longer to be found
	s[SLICE], s[NEWEST], s[SUM], s[MILLIS], s[STRETCHED] = slice, floor(now / slice), 0, 0, now
	for k = newest - SLICES + 1, newest do
		local at = k % SLICES * 8 + 1
		if at + 7 <= #bytes then
			local r, m = struct.unpack('>I4I4', bytes, at)
			book(floor(min((k + 1) * old, now) / slice), r, m)
		end
	end
end

advance()
stretch()

-- Who comes back and finds that nobody was here meanwhile does not know what the
-- others have spent alone. Until those have told it who were here before, or
-- have had the time for it, all keep to their shares.
if away > 0 and s[YOUNG] == 0 then
	local expected, heard = 1, false
	for name, m in pairs(s[MEMBERS]) do
		if name ~= id then
			expected, heard = expected + 1, heard or m[LEASE] - lease > now - away
		end
	end
	if expected > 1 and not heard then s[YOUNG], s[RALLIED], s[EXPECTED] = now + 2 * lease, now, expected end
end

-- Whoever is not heard of for a lease has spent what he held.
for name, m in pairs(s[MEMBERS]) do
	if m[LEASE] < now then
		if m[HOLD] > 0 or m[HOLDMS] > 0 then
			local k = max(floor(m[LEASE] / s[SLICE]), s[NEWEST] - SLICES + 1)
			book(k, m[HOLD], floor(m[HOLDMS]))
			m[PRESUMED], m[PRESUMEDMS], m[AT] = m[HOLD], floor(m[HOLDMS]), k
		end
		m[HOLD], m[HOLDMS], m[PLACES], m[INUSE], m[NEED], m[WISH], m[WAITING] = 0, 0, 0, 0, 0, 0, {}
		if name ~= id and m[LEASE] + s[SLICE] * SLICES < now then s[MEMBERS][name] = nil end
	end
end

local listed, listedms = 0, 0
for _, r, m in amounts() do
	listed, listedms = listed + r, listedms + m
end
if not me or reqs < me[REQS] or ms < me[MS] then
	if listed > 0 and now - s[BORN] < lease then s[YOUNG] = now + lease end
	me = {seq, 0, reqs - listed, ms - listedms, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, now, {}}
	s[MEMBERS][id] = me
elseif me[PRESUMED] > 0 or me[PRESUMEDMS] > 0 then
	if me[AT] > s[NEWEST] - SLICES then book(me[AT], -me[PRESUMED], -me[PRESUMEDMS]) end
	me[PRESUMED], me[PRESUMEDMS] = 0, 0
end

-- Of what is listed, the oldest may have been told already.
local new, newms = reqs - me[REQS], ms - me[MS]
local skip, skipms = listed - new, listedms - newms
for age, r, m in amounts() do
	local less, lessms = max(0, min(skip, r)), max(0, min(skipms, m))
	skip, skipms = skip - less, skipms - lessms
	book(floor((now - age) / s[SLICE]), r - less, m - lessms)
end
if skip < 0 or skipms < 0 then book(s[NEWEST], max(0, -skip), max(0, -skipms)) end

local alive, hold, holdms, taken, used, weights, keptelse = 1, 0, 0, 0, 0, 0, 0
local needs, wishes, inline = need, wish, #waiting
for name, m in pairs(s[MEMBERS]) do
	if name ~= id then
		needs, wishes, inline = needs + m[NEED], wishes + m[WISH], inline + #m[WAITING]
		if m[KEPTUNTIL] >= now then keptelse = keptelse + m[KEPT] end
		if m[KEPTUNTIL] >= now or m[LEASE] >= now then weights = weights + m[WEIGHT] end
		if m[LEASE] >= now then
			alive = alive + 1
			hold, holdms, taken, used = hold + m[HOLD], holdms + m[HOLDMS], taken + m[PLACES], used + m[INUSE]
		end
	end
end

if rate > 0 then
	s[TOKENS] = min(burst, s[TOKENS] + max(0, now - s[FILLED]) * rate / 1000000 + me[HOLD] - new - inflight - pocket)
	s[FILLED] = now
end

-- Callers that wait at several proxies count a part of their weight at each.
me[WAITING], me[NEED], me[WISH] = waiting, need, wish
local gates = {}
for _, m in pairs(inline > 0 and s[MEMBERS] or {}) do
	for i = 1, #m[WAITING], 2 do gates[m[WAITING][i]] = (gates[m[WAITING][i]] or 0) + 1 end
end
local function weigh(m)
	local w = 0
	for i = 1, #m[WAITING], 2 do w = w + m[WAITING][i + 1] / gates[m[WAITING][i]] end
	return w > 0 and w or 1
end

-- level shares out so much: each gets what it wants, but no more than the level
-- by its weight, and nothing is left while somebody wants.
local function level(field, total)
	local w, open = 0, {}
	for _, m in pairs(s[MEMBERS]) do
		if m[field] > 0 then
			local own = weigh(m)
			w = w + own
			open[#open + 1] = {m[field], own}
		end
	end
	local again = true
	while again do
		again = false
		for i = #open, 1, -1 do
			if open[i][1] * w <= total * open[i][2] then
				total, w, again = total - open[i][1], w - open[i][2], true
				table.remove(open, i)
			end
		end
	end
	return #open > 0 and max(0, total) / w or math.huge
end

-- Requests. What is kept back for callers goes to nobody else.
if s[YOUNG] > 0 then
	local n, expected = 1, s[EXPECTED] or 0
	if expected == 0 then expected = size end
	for name, m in pairs(s[MEMBERS]) do
		if name ~= id and m[LEASE] - lease >= (s[RALLIED] or 0) then n = n + 1 end
	end
	if now >= s[YOUNG] or n >= expected then s[YOUNG], s[EXPECTED] = 0, 0 end
end
local room = min(limit - s[SUM] - hold - inflight - pocket,
	floor((mslimit - s[MILLIS] - holdms - pending - pocket * guess) / guess + 0.000001))
if rate > 0 then room = min(room, floor(s[TOKENS] + 0.000001)) end
room = s[YOUNG] > 0 and 0 or floor(room)
local reserved = max(0, min(needreserved, math.ceil(kept), room))
local spare = floor((room - reserved - needs) / (2 * alive))
reserved = reserved + max(0, min(wantreserved, math.ceil(kept) - reserved, spare))
local free = floor(room - reserved - keptelse - max(0, kept - reserved))
local granted = 0
if free >= needs then
	granted = need + max(0, min(want, floor((free - need) / (2 * alive))))
elseif free >= 1 then
	local part = min(need, level(NEED, free) * weigh(me))
	granted = floor(part)
	me[CREDIT] = me[CREDIT] + part - granted
	if me[CREDIT] >= 1 then granted, me[CREDIT] = granted + 1, me[CREDIT] - 1 end
	granted = min(granted, need, free)
elseif testing == 1 and need > 0 and room >= 1 and reserved == 0 and hold + inflight + pocket == 0 then
	granted = 1
end
me[NEED] = max(0, need - granted)

-- Places. Who has some keeps them while they are in use; who has more than its
-- part, and somebody less, is told to come down.
local mine, target = wish, nil
if wishes <= places then
	mine = max(0, min(wish, places - taken))
else
	local line, others, starving, wishers = level(WISH, places), 0, false, 0
	local function fair(m) return min(m[WISH], max(1, floor(line * weigh(m)))) end
	for name, m in pairs(s[MEMBERS]) do
		if m[WISH] > 0 then wishers = wishers + 1 end
		if name ~= id and m[LEASE] >= now then
			others = others + max(m[PLACES], fair(m))
			starving = starving or m[PLACES] < fair(m)
		end
	end
	mine = max(min(wish, places - others), min(held, places - taken), 0)
	if mine == 0 and places - taken >= 1 then mine = 1 end
	if starving then
		target = fair(me)
		if wishers > places and now - me[SINCE] > 200000 then target = 0 end -- in turn
	end
end
if me[PLACES] == 0 then me[SINCE] = now end
mine = max(mine, 0)

me[SEQ], me[LEASE], me[REQS], me[MS] = seq, now + lease, reqs, ms
local promised = pocket + granted + reserved
if s[YOUNG] > 0 then promised = floor(min(limit, mslimit / guess, 2^31) / size) end -- its share: what of it is spent it tells when it comes again
me[HOLD], me[HOLDMS] = inflight + promised, pending + promised * guess
me[PLACES], me[INUSE], me[WEIGHT] = max(mine, inuse), inuse, weight
me[KEPT], me[KEPTUNTIL] = max(0, kept - reserved), now + keptfor
if rate > 0 then s[TOKENS] = s[TOKENS] - granted - reserved end

if learned ~= '' and known == s[NUMBER] then
	s[NUMBER], s[LEARNED] = s[NUMBER] + 1, learned
	known = s[NUMBER]
end
local bytes = s[SUM] > 0 and redis.call('GET', ring) or ''
if s[SUM] > 0 and (not bytes or bytes == '') then -- the ring alone was lost
	redis.call('DEL', record)
	return {'unknown'}
end
local short = needs - need + me[NEED] > 0
local edge = s[SLICE]
if short then
	local k = s[NEWEST] - SLICES + 1
	local last = min(k + 16, s[NEWEST])
	while k < last and string.find(string.sub(bytes, k % SLICES * 8 + 1, k % SLICES * 8 + 8), '^%z*$') do k = k + 1 end
	edge = (k + SLICES) * s[SLICE] - now
end
local ttl = floor((s[SLICE] * SLICES + 2 * lease) / 1000)
redis.call('SET', record, cmsgpack.pack(s), 'PX', ttl)
if booked then redis.call('PEXPIRE', ring, ttl) end

local mygates = {}
for i = 1, #waiting, 2 do mygates[#mygates + 1] = gates[waiting[i]] end
return {'ok', s[GEN], struct.pack('<' .. string.rep('d', 19), now, granted, reserved, me[PLACES], target or me[PLACES], s[SUM], s[MILLIS],
	hold, holdms, taken, used, weights, max(0, edge), short and 1 or 0, s[YOUNG] > 0 and 1 or 0, s[NUMBER], s[SLICE], s[NEWEST], #mygates),
	s[NUMBER] ~= known and s[LEARNED] or '', bytes, struct.pack('<' .. string.rep('d', #mygates), unpack(mygates))}
