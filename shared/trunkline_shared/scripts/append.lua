-- Appends frames to logs, each fenced by its stream id and by the state, and publishes them.
-- ARGV: (id stream_id reply frame)...
-- Returns one answer a frame: 1 it is in the log (now, or since an earlier try) · 'gone' no log ·
-- 'fenced' a higher epoch has the run · 'full' Redis is out of memory · 'refused' anything else.
local answers, channels, lines = {}, {}, {}

local function appended(id, stream_id, frame)
  local epoch = string.match(stream_id, '^(%d+)')
  local current = redis.call('HGET', K.run .. id, 'epoch')
  if current and current ~= epoch then
    return tonumber(current) > tonumber(epoch) and 'fenced' or 'refused'
  end
  local answer = redis.pcall('XADD', K.log .. id, 'NOMKSTREAM', stream_id, 'f', frame)
  if not answer then return 'gone' end
  if type(answer) ~= 'table' or not answer.err then return 1 end
  if string.sub(tostring(answer.err), 1, 3) == 'OOM' then return 'full' end
  if #redis.call('XRANGE', K.log .. id, stream_id, stream_id) == 1 then return 2 end
  local top = redis.call('XREVRANGE', K.log .. id, '+', '-', 'COUNT', 1)[1]
  return tonumber(string.match(top[1], '^(%d+)')) > tonumber(epoch) and 'fenced' or 'refused'
end

for i = 1, #ARGV, 4 do
  local id, stream_id, reply, frame = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local answer = appended(id, stream_id, frame)
  if answer == 1 and reply ~= '' then
    if not lines[reply] then
      lines[reply] = {}
      table.insert(channels, reply)
    end
    table.insert(lines[reply], id .. ' ' .. stream_id .. ' ' .. frame)
  end
  table.insert(answers, answer == 2 and 1 or answer)
end
for _, reply in ipairs(channels) do
  redis.call('PUBLISH', reply, table.concat(lines[reply], '\n'))
end
return answers
