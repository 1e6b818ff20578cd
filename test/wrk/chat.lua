-- Streamed chat completions: counts the frames that carry a token, over all threads.
-- TOKENS in the environment: tokens of an answer (default 256).
local tokens = tonumber(os.getenv("TOKENS") or "256")
local threads = {}

wrk.method = "POST"
wrk.path = "/v1/chat/completions"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"messages":[{"role":"user","content":"Tell me a story."}],"stream":true,"ignore_eos":true,"max_tokens":'
	.. tokens .. "}"

function setup(thread)
	table.insert(threads, thread)
end

function init()
	frames, answers, bad = 0, 0, 0
end

function response(status, _, body)
	if status ~= 200 or not body:find("data: [DONE]", 1, true) then
		bad = bad + 1
		return
	end
	answers = answers + 1
	-- A frame with a token has content in its delta; the first (role) has an empty one.
	for text in body:gmatch('"delta":{"content":"(.-)"}') do
		if #text > 0 then
			frames = frames + 1
		end
	end
end

function done(summary)
	local all, whole, wrong = 0, 0, 0
	for _, thread in ipairs(threads) do
		all = all + thread:get("frames")
		whole = whole + thread:get("answers")
		wrong = wrong + thread:get("bad")
	end
	local seconds = summary.duration / 1e6
	-- The frames that a client sees: a token whose bytes are held back (half a character) has none.
	print(string.format("answers %d, not complete %d, tokens asked for %.0f/s, frames with text %.0f/s", whole, wrong,
		whole * tokens / seconds, all / seconds))
end
