-- Appends frames to logs, each fenced by its stream id, and publishes what is new.
-- ARGV, for each reply channel: reply follows(a 0 or 1 for each frame, in one word)
--       (id stream_id frame)...
-- Returns 'added' if all were, else one answer of `append_frame` for each.
-- No table and no string is made for nothing: most calls bring one token, and what Lua makes costs
-- more than what Redis does.
local at, count, odd = 1, 0, nil -- `odd`: the answers that are not 'added', by place
while at < #ARGV do
  local reply, follows, message = ARGV[at], ARGV[at + 1], nil
  at = at + 2
  for n = 1, #follows do
    local id, stream_id, frame = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    at, count = at + 3, count + 1
    local answer = append_frame(id, stream_id, frame, string.byte(follows, n) == 49)
    if answer ~= 'added' then
      odd = odd or {}
      odd[count] = answer
    elseif #follows == 1 then
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
