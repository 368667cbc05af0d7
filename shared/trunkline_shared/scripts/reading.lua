-- More of what the scripts share, for the loader as `prelude.lua` is: what only looks, and judges.

-- Why a waiting run is over, as the event and outcome to end it with; nil while it is not.
local function overdue(s, now)
  if s.cancel ~= '' then return '["failed","cancelled","' .. s.cancel .. '"]', 'cancelled' end
  if s.st == 'waiting' and s.exp <= now then
    return '["failed","conversation_busy","The runs before it in its conversation took too long."]',
      'failed'
  end
  if s.dl > 0 and s.dl <= now then
    return '["failed","run_timeout","The run did not end within its time limit."]', 'failed'
  end
  if s.dl == 0 and s.exp > 0 and s.exp <= now then
    local waited_s = int(math.floor((now - tonumber(s.score)) / 1000 + 0.5))
    return '["failed","queue_timeout","No worker took the run in time.",null,' .. waited_s .. ']',
      'failed'
  end
end

local LOST_AFTER_OUTPUT =
  '["failed","worker_lost","The worker of this run was lost after part of the answer was sent."]'

-- The seq of the first output event that still counts (nil: none), whether one of them shows
-- something (a tool call alone does not before its first arguments), and whether steps of the run
-- are done. Reads the log from its end to the last step, or all of it: rare.
-- A `step` ends what counts: what was said before it is in the journal, and no later attempt says it
-- again. What was said after it is of a step that has to be done again; that drops it, unless it was
-- shown. What the agent does with its own tools (`act`...) never counts. A call that had not ended
-- begins once more, and readers see it twice, first as one that an `attempt` cut off; one that had
-- ended stays, because nothing recorded comes between the words of a step and its `step`.
local function said(id)
  local shows = { t = true, T = true, r = true, refusal = true, args = true }
  local first, shown, counts, from = nil, nil, true, '+'
  while true do
    local page = redis.call('XREVRANGE', K.log .. id, from, '-', 'COUNT', S.page)
    for _, entry in ipairs(page) do
      local frame, its_first, its_shown = cjson.decode(entry[2][2]), nil, nil
      local seq, steps, drops = frame[1], false, false
      for i = 2, #frame do
        local row = frame[i]
        local kind = row[1]
        if kind == 'step' then
          its_first, its_shown, steps = nil, nil, true
        elseif kind == 'attempt' and type(row[3]) == 'number' then
          its_first, its_shown, drops = nil, nil, true
        elseif shows[kind] or kind == 'call' then
          its_first, its_shown = its_first or seq, its_shown or shows[kind]
        end
        seq = seq + (kind == 'T' and #row - 1 or 1) -- one row for many text deltas
      end
      if counts then first, shown = its_first or first, its_shown or shown end
      if steps then return first, shown, true end
      counts = counts and not drops -- what came before was dropped, if it was no step
      from = '(' .. entry[1]
    end
    if #page < C.page then return first, shown, false end
  end
end

-- What a newcomer would wait, in ms: the measured wait, or the age of the oldest if that is more.
local function wait_ms(pool, now)
  local wait = tonumber(redis.call('HGET', K.stats .. pool, 'wait_ms') or 0)
  local head = redis.call('ZRANGE', K.queue .. pool, 0, 0, 'WITHSCORES')
  if head[2] then wait = math.max(wait, now - tonumber(head[2])) end
  return int(wait)
end
