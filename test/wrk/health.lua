-- GET /health, keep-alive: what the event loop and libmicrohttpd cost.
wrk.path = "/health"

local bad = 0

function response(status)
	if status ~= 200 then
		bad = bad + 1
	end
end
