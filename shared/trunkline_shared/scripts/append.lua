-- Appends frames to logs, each fenced by its stream id, and publishes what is new.
-- ARGV, for each reply channel: reply kinds(a digit for each frame, in one word: 1 it surely follows
--       the top, 0 it may not, 2 as 0, and an entry of the run's journal comes with it)
--       (id stream_id frame [entry])...
-- An entry is added when its frame is, and so exactly once: both are there, or neither.
-- Returns 'added' if all were, else one answer of `append_frame` for each.
-- No table and no string is made for nothing: most calls bring one token, and what Lua makes costs
-- more than what Redis does.
local at, count, odd = 1, 0, nil -- `odd`: the answers that are not 'added', by place
while at < #ARGV do
  local reply, kinds, message = ARGV[at], ARGV[at + 1], nil
  at = at + 2
  for n = 1, #kinds do
    local id, stream_id, frame = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    at, count = at + 3, count + 1
    local kind = string.byte(kinds, n)
    local answer = append_frame(id, stream_id, frame, kind == 49)
    if kind == 50 then
      -- It lives as long as the state of its run, without which it is of no use.
      if answer == 'added' and redis.call('RPUSH', K.journal .. id, ARGV[at]) == 1 then
        redis.call('PEXPIRE', K.journal .. id, redis.call('PTTL', K.run .. id))
      end
      at = at + 1
    end
    if answer ~= 'added' then
      odd = odd or {}
      odd[count] = answer
    elseif #kinds == 1 then
      message = id .. ' ' .. stream_id .. ' ' .. frame
    else
      message = message or {}
      local top = #message
      message[top + 1], message[top + 2], message[top + 3] = id, ' ', stream_id
      message[top + 4], message[top + 5], message[top + 6] = ' ', frame, '\n'
    end
  end
  -- One message for all frames of a reader: receiving costs more than sending.
  if type(message) == 'table' then message = table.concat(message, '', 1, #message - 1) end
  if reply ~= '' and message then redis.call('PUBLISH', reply, message) end
end
if not odd then return 'added' end
for n = 1, count do odd[n] = odd[n] or 'added' end
return odd
