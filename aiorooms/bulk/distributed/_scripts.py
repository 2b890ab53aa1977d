"""The scripts that change a run in the store. Redis runs each of them as one step, which no other command interrupts.

Each change of a batch names the *epoch* of the delivery that makes it. Opening a batch gives it a new epoch, a random
text. From then on, earlier deliveries of the batch can't change it any more: they are *fenced*. For example,

1. Worker A opens batch 7, and gets the epoch x. A is suspended.
2. The engine delivers batch 7 again. Worker B opens it, and gets the epoch y.
3. A goes on, and appends three outcomes with the epoch x. The store does not record them, and says that A is fenced.

A change also has a number, which grows with each change of a delivery. If the answer to a change is lost, the delivery
makes the change again with the same number, and the store does not record it twice.

The scripts use only what both Redis and the store in memory (`memory://`) have. Each answer, except that of `TIME`,
begins with a word and the reason why the run is stopped; the reason is empty if it is not.
"""

from typing import Final

__all__ = ["APPEND", "FINISH", "LEAD", "OPEN_BATCH", "PUBLISH", "REOPEN", "STOP", "TIME"]

OPEN_BATCH: Final = """
-- KEYS: head, batch. ARGV: number, epoch, boot, margin, ttl, length of a lease
local head, batch = KEYS[1], KEYS[2]
if redis.call('EXISTS', batch) == 0 or redis.call('EXISTS', head) == 0 then return {'gone', ''} end
local stop = redis.call('HGET', head, 'stop') or ''
if redis.call('HGET', batch, 'done') then return {'done', stop} end
if stop ~= '' then return {'stopped', stop} end
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local number = tonumber(ARGV[1])
local opened = tonumber(redis.call('HGET', head, 'opened') or '-1')
if redis.call('HGET', head, 'boot') ~= ARGV[3] then
    -- The store was restarted, and may have lost the last seconds. Batches that were opened then look unopened.
    redis.call('HSET', head, 'boot', ARGV[3], 'suspect', opened + tonumber(ARGV[4]))
    redis.call('HSET', head, 'suspect_until', string.format('%.3f', now + tonumber(ARGV[6])))
end
local is_first = redis.call('HINCRBY', batch, 'delivery', 1) == 1
local wait = 0
if number <= tonumber(redis.call('HGET', head, 'suspect') or '-1') then
    is_first = false
    wait = math.max(0, tonumber(redis.call('HGET', head, 'suspect_until') or '0') - now)
end
if number > opened then redis.call('HSET', head, 'opened', number) end
redis.call('HSET', batch, 'epoch', ARGV[2], 'change', 0)
redis.call('EXPIRE', batch, ARGV[5])
redis.call('EXPIRE', head, ARGV[5])
if not redis.call('HGET', batch, 'began') then
    redis.call('HSET', batch, 'began', time[1] .. '.' .. string.format('%06d', tonumber(time[2])))
end
return {
    'opened', stop, is_first and '1' or '0', redis.call('HGET', batch, 'plan'), redis.call('HGET', batch, 'rows'),
    redis.call('HGET', batch, 'aside') or '', redis.call('HGET', head, 'listed_at') or '', string.format('%.3f', wait)
}
"""
"""Open a batch: give it a new epoch, and return what a delivery needs."""

TIME: Final = "return redis.call('TIME')"
"""Return the time, in seconds and microseconds."""

APPEND: Final = """
-- KEYS: head, batch, log, hash with the epoch. ARGV: name of the epoch, epoch, name of the change, change, ttl, stop,
-- failures, attempts, rate limited, limit, listed_at, last failure, body, places each with a letter, such as 3u12b
local head, batch, log = KEYS[1], KEYS[2], KEYS[3]
local stop = redis.call('HGET', head, 'stop') or ''
if (redis.call('HGET', KEYS[4], ARGV[1]) or '') ~= ARGV[2] then return {'fenced', stop} end
if tonumber(ARGV[4]) > tonumber(redis.call('HGET', KEYS[4], ARGV[3]) or '0') then
    redis.call('HSET', KEYS[4], ARGV[3], ARGV[4])
    local rows = redis.call('HGET', batch, 'rows') or ''
    local by = {}
    for number, letter in string.gmatch(ARGV[14], '(%d+)(%D)') do
        local place = tonumber(number) + 1
        local before = string.sub(rows, place, place)
        if before ~= letter then
            by[before] = (by[before] or 0) - 1
            by[letter] = (by[letter] or 0) + 1
            rows = string.sub(rows, 1, place - 1) .. letter .. string.sub(rows, place + 1)
        end
    end
    if ARGV[14] ~= '' then redis.call('HSET', batch, 'rows', rows) end
    for letter, count in pairs(by) do
        if count ~= 0 then redis.call('HINCRBY', head, 'count:' .. letter, count) end
    end
    if ARGV[13] ~= '' then
        redis.call('XADD', log, '*', 'd', ARGV[13])
        redis.call('EXPIRE', log, ARGV[5])
    end
    if ARGV[8] ~= '0' then redis.call('HINCRBY', head, 'attempts', ARGV[8]) end
    if ARGV[9] ~= '0' then redis.call('HINCRBY', head, 'rate_limited', ARGV[9]) end
    if ARGV[10] ~= '' then redis.call('HSET', head, 'limit', ARGV[10]) end
    if ARGV[11] ~= '' then
        local time = redis.call('TIME')
        local window = tonumber(time[1]) + tonumber(time[2]) / 1000000 - tonumber(ARGV[11])
        if window > tonumber(redis.call('HGET', head, 'window') or '-1') then
            redis.call('HSET', head, 'window', string.format('%.3f', window))
        end
    end
    if stop == '' then
        stop = ARGV[6]
        if ARGV[7] ~= '0' then
            local failures = redis.call('HINCRBY', head, 'failures', ARGV[7])
            local most = tonumber(redis.call('HGET', head, 'max_failures') or '0')
            if stop == '' and most > 0 and failures >= most then
                stop = 'the maximum number of failures was reached; the last failure: ' .. ARGV[12]
            end
        end
        if stop ~= '' then redis.call('HSET', head, 'stop', stop) end
    end
end
return {'ok', stop}
"""
"""Record new letters of rooms, and append a text to a log. Count failures, and stop the run if there are too many."""

FINISH: Final = """
-- KEYS: head, batch, log. ARGV: epoch, compressed log
local stop = redis.call('HGET', KEYS[1], 'stop') or ''
if redis.call('HGET', KEYS[2], 'done') then return {'ok', stop} end
if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[1] then return {'fenced', stop} end
local number = redis.call('HINCRBY', KEYS[2], 'logs', 1)
redis.call('HSET', KEYS[2], 'done', '1', 'log' .. number, ARGV[2])
redis.call('DEL', KEYS[3])
redis.call('HINCRBY', KEYS[1], 'finished', 1)
return {'ok', stop}
"""
"""End a batch: replace its log by the compressed one. A batch that a resumed run reopened gets a further one."""

PUBLISH: Final = """
-- KEYS: head, batch. ARGV: epoch of the lead, places
if (redis.call('HGET', KEYS[1], 'lead') or '') ~= ARGV[1] then return {'fenced', ''} end
local opened = redis.call('HGET', KEYS[2], 'epoch')
if not opened then
    if ARGV[2] == '' then redis.call('HDEL', KEYS[2], 'aside') else redis.call('HSET', KEYS[2], 'aside', ARGV[2]) end
end
return {'ok', redis.call('HGET', KEYS[1], 'stop') or ''}
"""
"""Replace the places of a batch whose rooms must be set aside, unless the batch was opened."""

LEAD: Final = """
-- KEYS: head. ARGV: epoch, ttl, is new, pairs of a field and a value
local head = KEYS[1]
if redis.call('EXISTS', head) == 0 then return {'gone', ''} end
local stop = redis.call('HGET', head, 'stop') or ''
if ARGV[3] == '1' then
    redis.call('HSET', head, 'lead', ARGV[1], 'lead_change', 0)
elseif (redis.call('HGET', head, 'lead') or '') ~= ARGV[1] then
    return {'fenced', stop}
end
for index = 4, #ARGV, 2 do redis.call('HSET', head, ARGV[index], ARGV[index + 1]) end
redis.call('EXPIRE', head, ARGV[2])
return {'ok', stop}
"""
"""Take the lead of a run with a new epoch, or set fields of the head as the one who leads it."""

STOP: Final = """
-- KEYS: head. ARGV: reason, time
if redis.call('EXISTS', KEYS[1]) == 0 then return {'gone', ''} end
if redis.call('HGET', KEYS[1], 'ended_at') then return {'ended', redis.call('HGET', KEYS[1], 'stop') or ''} end
local stop = redis.call('HGET', KEYS[1], 'stop')
if not stop then
    stop = ARGV[1]
    redis.call('HSET', KEYS[1], 'stop', stop)
end
if redis.call('HGET', KEYS[1], 'phase') == 'queued' then -- there is no lead that could end it
    redis.call('HSET', KEYS[1], 'ended_at', ARGV[2], 'phase', 'stopped')
end
return {'ok', stop}
"""
"""Stop a run, unless it was stopped or has ended."""

REOPEN: Final = """
-- KEYS: head, batch. ARGV: ttl, pairs of a letter and the new letter
local rows = redis.call('HGET', KEYS[2], 'rows')
if not rows then return {'gone', ''} end
for index = 2, #ARGV, 2 do
    local changed = {}
    local count = 0
    for place = 1, #rows do
        local letter = string.sub(rows, place, place)
        if letter == ARGV[index] then
            letter = ARGV[index + 1]
            count = count + 1
        end
        changed[place] = letter
    end
    if count > 0 then
        rows = table.concat(changed)
        redis.call('HINCRBY', KEYS[1], 'count:' .. ARGV[index], -count)
        redis.call('HINCRBY', KEYS[1], 'count:' .. ARGV[index + 1], count)
    end
end
redis.call('HSET', KEYS[2], 'rows', rows)
redis.call('HDEL', KEYS[2], 'aside')
redis.call('EXPIRE', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[1])
local is_open = string.find(rows, '[.b]')
local was_done = redis.call('HGET', KEYS[2], 'done')
if was_done and not is_open then return {'done', ''} end
if was_done then redis.call('HINCRBY', KEYS[1], 'finished', -1) end
-- A batch whose rooms all have an outcome may still have to be ended.
redis.call('HDEL', KEYS[2], 'done', 'epoch')
return {'open', ''}
"""
"""Change letters of a batch for a resumed run, and let it be delivered again unless it is done."""
