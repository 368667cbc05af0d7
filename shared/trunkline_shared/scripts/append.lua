-- Appends frames to logs, each fenced by its stream id, and publishes what is new.
-- ARGV: follows(a 0 or 1 for each frame, in one word) (id stream_id reply frame)...
-- Returns one answer of `append_frame` for each.
local answers, channels, lines = {}, {}, {}
for i = 2, #ARGV, 4 do
  local id, stream_id, reply, frame = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local at = (i + 2) / 4
  local answer = append_frame(id, stream_id, frame, string.sub(ARGV[1], at, at) == '1')
  if answer == 'added' and reply ~= '' then
    if not lines[reply] then
      lines[reply] = {}
      table.insert(channels, reply)
    end
    table.insert(lines[reply], id .. ' ' .. stream_id .. ' ' .. frame)
  end
  table.insert(answers, answer)
end
-- One message for all frames of a reader: receiving costs more than sending.
for _, reply in ipairs(channels) do
  redis.call('PUBLISH', reply, table.concat(lines[reply], '\n'))
end
return answers
