-- The only way out of a run. By its owner, of as many runs as end in one tick of its loop: appends the
-- last frame, which holds the terminal event.
-- ARGV, for each: id stream_id frame outcome result turn ('' where it has none: what a stored run or a
--       conversation is to know of a failure is then made of the event)
--       follows(0|1: as of `append_frame`)
-- Returns 'ok' if all were ended, else for each 'ok' · 'done' it was over already · 'gone' the state is
-- · what `append_frame` answered when the frame could not be added · 'refused' and the words of another
-- error of Redis.
-- Or by anyone else: the epoch rises first.
-- ARGV: id '' event outcome
-- Returns 'ok', 'done' or 'gone'.
if ARGV[2] == '' then
  local id, event, outcome = ARGV[1], ARGV[3], ARGV[4]
  local s = state(id)
  if not s then return 'gone' end
  if s.st == 'done' then return 'done' end
  despite_full_memory()
  end_run(id, s, event, outcome, now_ms())
  return 'ok'
end
local messages = {} -- by reply channel: receiving costs more than sending

-- What the end of a run concerns: of one that has nothing but what each has, not all of its state,
-- which would be half of the cost.
local function ending(id)
  local v = redis.call('HMGET', K.run .. id, 'st', 'epoch', 'who', 'reply', 'owner', 'cancel', 'more')
  if v[1] ~= 'running' or not v[3] or v[6] or v[7] then return state(id) end
  return { st = v[1], epoch = tonumber(v[2]), principal = string.match(v[3], '^%S+ %S+ (.*)$'),
    reply = v[4], owner = v[5], cancel = '', crashes = 0 }
end

local function finish(id, stream_id, frame, outcome, result, turn, follows)
  local s = ending(id)
  if not s then return 'gone' end
  if s.st == 'done' then return 'done' end
  if tonumber(string.match(stream_id, '^(%d+)')) ~= s.epoch then return 'fenced' end
  local answer = append_frame(id, stream_id, frame, follows == '1')
  if answer ~= 'added' then despite_full_memory() end
  if answer == 'full' then answer = append_frame(id, stream_id, frame) end
  if answer == 'added' then
    if s.reply and s.reply ~= '' then
      local parts = messages[s.reply] or {}
      local top = #parts
      parts[top + 1], parts[top + 2], parts[top + 3] = id, ' ', stream_id
      parts[top + 4], parts[top + 5], parts[top + 6] = ' ', frame, '\n'
      messages[s.reply] = parts
    end
  elseif answer ~= 'known' and answer ~= 'gone' then
    return answer
  end
  local now = s.conv and now_ms()
  if (s.kept or s.idem) and result == '' or s.conv and turn == '' then
    local events = cjson.decode(frame)
    if events[#events][1] == 'failed' then
      local event = cjson.encode(events[#events])
      if result == '' then result = bare_result(event) end
      if s.conv and turn == '' then turn = bare_turn(id, event, now) end
    end
  end
  if result ~= '' then store_result(id, s, result) end
  settle(id, s, outcome, turn ~= '' and turn, now)
  return 'ok'
end

local answers, all_ok = {}, true
for i = 1, #ARGV, 7 do
  local fine, answer = pcall(finish, ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4],
    ARGV[i + 5], ARGV[i + 6])
  answers[#answers + 1] = fine and answer or 'refused ' .. words_of(answer)
  all_ok = all_ok and answer == 'ok'
end
for reply, parts in pairs(messages) do
  redis.call('PUBLISH', reply, table.concat(parts, '', 1, #parts - 1))
end
return all_ok and 'ok' or answers
