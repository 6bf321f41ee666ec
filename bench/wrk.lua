-- Gives wrk thousands of distinct targets and prints the outcome as one line of JSON.
-- Arguments after "--": "keepalive" or "dirmngr", number of targets.
local heads, next_head = {}, 0

local function keepalive(target)
    return "GET " .. target .. " HTTP/1.1\r\nHost: keys.example.org\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
end

-- Exactly what dirmngr 2.2 sends: no User-Agent, no Accept; the server closes.
local function dirmngr(target)
    return "GET " .. target .. " HTTP/1.0\r\nHost: keys.example.org\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\r\n"
end

function init(args)
    local head = args[1] == "dirmngr" and dirmngr or keepalive
    math.randomseed(1)
    for i = 1, tonumber(args[2]) do
        local digits = {}
        for j = 1, 5 do digits[j] = string.format("%08X", math.random(0, 0x7fffffff)) end
        heads[i] = head("/pks/lookup?op=get&options=mr&search=0x" .. table.concat(digits))
    end
end

function request()
    next_head = next_head % #heads + 1
    return heads[next_head]
end

function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format(
        '\n{"requests":%d,"bytes":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d,"refused":%d}\n',
        summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99),
        e.connect, e.read, e.write, e.timeout, e.status))
end
