-- Packets of twinphase_spec.packets. Runs in the Lua of every Wireshark since 2.6 (5.2 to 5.4): no operators for bits or integers, and what may
-- have more than 53 bits is a UInt64.

local twinphase = Proto("twinphase", "Twinphase node link")
local all, made = {}, {}

-- A field called twinphase.<name>, made once.
local function field(name, kind, label, ...)
  local abbreviation = "twinphase." .. name
  if made[abbreviation] == nil then
    made[abbreviation] = ProtoField[kind](abbreviation, label or name, ...)
    all[#all + 1] = made[abbreviation]
  end
  return made[abbreviation]
end

local stream_names = {}
for number, stream in pairs(SPEC.streams) do
  stream_names[number] = stream.name
end

local head = {}
for _, entry in ipairs(SPEC.header) do
  head[entry.name] = entry
  if entry.name == "stream" then
    entry.field = field("stream", "uint8", "stream", base.DEC, stream_names)
  elseif entry.name == "magic" then
    entry.field = field("magic", "uint16", "magic", base.HEX)
  else
    entry.field = field(entry.name, entry.type)
  end
end
for _, stream in pairs(SPEC.streams) do
  stream.abbreviation = string.lower(stream.name)
  for _, entry in ipairs(stream.fields or {}) do
    entry.field = field(stream.abbreviation .. "." .. entry.name, entry.type, entry.name)
  end
end
for _, status in pairs(SPEC.status) do
  for i, name in ipairs(status.counters) do
    status.counters[i] = field("status." .. name, "uint64", name)
  end
end

local f = {
  heartbeat = field("heartbeat", "bool", "heartbeat"),
  tag_channel = field("tag.channel", "uint8", "channel"),
  tag_ticks = field("tag.ticks", "uint64", "time in ticks"),
  tag_seconds = field("tag.seconds", "double", "time in seconds"),
  overflow = field("tag.overflow", "uint32", "overflow, periods"),
  pulse = field("herald.pulse", "uint64", "pulse"),
  detector = field("herald.detector", "string", "detector"),
  coded = field("herald_code.heralds", "uint16", "coded heralds"),
  word = field("word", "uint32", "word", base.HEX),
  r_valid = field("r_valid", "bool", "psi_r valid"),
  d_valid = field("d_valid", "bool", "psi_d valid"),
  track_channel = field("track.channel", "uint8", "channel"),
  track_locked = field("track.locked", "bool", "locked"),
  track_broke = field("track.broke", "bool", "broke"),
  track_clock = field("track.clock", "uint64", "clock count"),
  id = field("register.id", "uint32", "request id", base.HEX),
  operation = field("register.operation", "uint16", "operation", base.DEC, SPEC.operations),
  status = field("register.status", "uint16", "status", base.DEC, SPEC.statuses),
  address = field("register.address", "uint32", "address", base.HEX),
  name = field("register.name", "string", "register"),
  count = field("register.count", "uint32", "words"),
  value = field("register.value", "uint32", "value", base.HEX),
  value_name = field("register.value_name", "string", "value of"),
  receipt_stream = field("receipt.stream", "uint32", "stream", base.DEC, stream_names),
  receipt_sequence = field("receipt.sequence", "uint32", "last sequence received"),
}
twinphase.fields = all

local malformed = ProtoExpert.new("twinphase.malformed", "Malformed", expert.group.MALFORMED, expert.severity.ERROR)
local refused = ProtoExpert.new("twinphase.refused", "Request refused", expert.group.RESPONSE_CODE, expert.severity.WARN)
twinphase.experts = {malformed, refused}
twinphase.prefs.clock_mhz = Pref.string("Clock of the node in MHz", tostring(SPEC.clock_hz / 1e6), "for times in seconds; `twinphase devices` tells it")
twinphase.prefs.link_port = Pref.uint("Port of the registers of a board's link", SPEC.link_port, "two above that of its streams")

local TWO_25, TWO_32 = 2 ^ SPEC.time_bits, 2 ^ 32

local function low_bits(value, bits)
  return value % 2 ^ bits
end
local function bits_from(value, shift)
  return math.floor(value / 2 ^ shift)
end
local function bit_set(value, mask)
  return math.floor(value / mask) % 2 == 1
end
local function added(item)
  if item.set_generated then
    item:set_generated()
  end
  return item
end

local function complain(tree, text)
  tree:add_proto_expert_info(malformed, text)
end

-- Tags of T2 words: the periods of the packet's base, and those of the overflow words before a tag, make its time absolute.
local function dissect_tags(payload, tree, low, high)
  local periods = bits_from(low, SPEC.time_bits) + high * 2 ^ (32 - SPEC.time_bits)
  local hertz, tags = (tonumber(twinphase.prefs.clock_mhz) or SPEC.clock_hz / 1e6) * 1e6, 0
  for at = 0, payload:len() - 4, 4 do
    local place = payload(at, 4)
    local word = place:le_uint()
    local special, channel, time = word >= 2 ^ 31, low_bits(bits_from(word, SPEC.time_bits), 6), low_bits(word, SPEC.time_bits)
    if not special then
      local below = low_bits(periods, 32 - SPEC.time_bits) * TWO_25 + time
      local above = bits_from(periods, 32 - SPEC.time_bits)
      local ticks = UInt64.new(below, low_bits(above, 32))
      local item = tree:add(f.tag_ticks, place, ticks)
      item:append_text(", channel " .. string.format("%d", channel))
      added(item:add(f.tag_channel, place, channel))
      added(item:add(f.tag_seconds, place, (periods * TWO_25 + time) / SPEC.ticks_per_clock / hertz))
      tags = tags + 1
    elseif channel == SPEC.overflow_channel then
      tree:add(f.overflow, place, time)
      periods = periods + time
    else
      tree:add_le(f.word, place)
      complain(tree, "T2 word " .. string.format("%#010x", word) .. " is neither tag nor overflow")
    end
  end
  return tags
end

local function value_of(place, entry)
  return place(entry.at, entry.bytes):le_uint()
end

-- What the numbers of a record mean beyond their own fields.
local extra = {}
local function flags_of(record, stream)
  for _, entry in ipairs(stream.fields) do
    if entry.name == "flags" then
      return record(entry.at, entry.bytes)
    end
  end
end
function extra.PHASE(record, item, stream)
  local flags = flags_of(record, stream)
  added(item:add(f.r_valid, flags, bit_set(flags:le_uint(), SPEC.r_valid)))
end
function extra.DPHASE(record, item, stream)
  local flags = flags_of(record, stream)
  added(item:add(f.d_valid, flags, bit_set(flags:le_uint(), SPEC.d_valid)))
end
function extra.PSI(record, item, stream)
  extra.PHASE(record, item, stream)
  extra.DPHASE(record, item, stream)
end
extra.PSI_CAUSAL = extra.PSI
function extra.HERALD(record, item)
  local high = record(8, 4):le_uint()
  added(item:add(f.pulse, record(4, 8), UInt64.new(record(4, 4):le_uint(), low_bits(high, 24))))
  added(item:add(f.detector, record(8, 4), high >= 2 ^ 31 and "R" or "L"))
end
function extra.TRACK(record, item)
  local high, track = record(4, 4):le_uint(), SPEC.track
  local flags = bits_from(high, track.flags_shift)
  added(item:add(f.track_clock, record(0, 8), UInt64.new(record(0, 4):le_uint(), low_bits(high, track.high_bits))))
  added(item:add(f.track_channel, record(4, 4), low_bits(bits_from(high, track.channel_shift), track.flags_shift - track.channel_shift)))
  added(item:add(f.track_locked, record(4, 4), bit_set(flags, track.locked)))
  added(item:add(f.track_broke, record(4, 4), bit_set(flags, track.broke)))
end

local function dissect_records(payload, tree, stream)
  local size, count = 4 * stream.words, 0
  for at = 0, payload:len() - size, size do
    local record = payload(at, size)
    local item = tree:add(twinphase, record, stream.name .. " record " .. count)
    for _, entry in ipairs(stream.fields) do
      item:add_le(entry.field, record(entry.at, entry.bytes))
    end
    if extra[stream.name] then
      extra[stream.name](record, item, stream)
    end
    count = count + 1
  end
  return count
end

local function dissect_status(payload, tree)
  local words = math.floor(payload:len() / 4)
  local status = SPEC.status[words]
  if status == nil then
    complain(tree, "no node has a status of " .. words .. " words")
    return
  end
  tree:append_text(", of a " .. status.node)
  for i, counter in ipairs(status.counters) do
    tree:add_le(counter, payload(8 * (i - 1), 8))
  end
end

-- Behind the port of a board's link are its registers; on one computer also a third node's, so that both are named there.
local function register_name(address, of_link)
  local names = {}
  for _, registers in ipairs(of_link and {SPEC.link_registers, SPEC.registers} or {SPEC.registers}) do
    for _, entry in ipairs(registers) do
      if entry.first <= address and address <= entry.last then
        local place = entry.last > entry.first and "[" .. string.format("%d", address - entry.first) .. "]" or ""
        names[#names + 1] = entry.name .. place .. (entry.nodes == "all" and "" or " (" .. entry.nodes .. ")")
      end
    end
  end
  return #names > 0 and table.concat(names, ", ") or "not in the map"
end

local function dissect_register(tvb, tree, request, of_link)
  local flags, words = tvb(10, 2):le_uint(), tvb(8, 2):le_uint()
  local address, count = tvb(12, 4):le_uint(), tvb(16, 4):le_uint()
  tree:add_le(f.id, tvb(4, 4))
  tree:add_le(request and f.operation or f.status, tvb(10, 2))
  tree:add_le(f.address, tvb(12, 4))
  added(tree:add(f.name, tvb(12, 4), register_name(address, of_link)))
  tree:add_le(f.count, tvb(16, 4))
  for at = 0, 4 * words - 4, 4 do
    local place = tvb(SPEC.header_bytes + at, 4)
    local item = tree:add_le(f.value, place)
    added(item:add(f.value_name, place, register_name(address + at / 4, of_link)))
  end
  if request then
    local written = SPEC.operations[flags] == "WRITE" and count or 0
    if SPEC.operations[flags] == nil then
      complain(tree, "operation " .. flags .. " does not exist")
    elseif count < 1 or count > SPEC.max_register_words then
      complain(tree, "a request is of 1 to " .. SPEC.max_register_words .. " words")
    elseif words ~= written then
      complain(tree, "the payload of a " .. SPEC.operations[flags] .. " of " .. count .. " words has " .. words)
    end
  elseif SPEC.statuses[flags] ~= "OK" then
    tree:add_proto_expert_info(refused)
  end
  return register_name(address, of_link) .. ", " .. string.format("%d", count) .. " words"
end

local function dissect_receipts(payload, tree)
  if payload:len() % 8 ~= 0 then
    complain(tree, "a receipt is pairs of stream and sequence")
  end
  for at = 0, payload:len() - 8, 8 do
    tree:add_le(f.receipt_stream, payload(at, 4))
    tree:add_le(f.receipt_sequence, payload(at + 4, 4))
  end
end

-- The header; nil and a reason if the packet is not whole or of another protocol.
local function dissect_header(tvb, tree)
  for _, entry in ipairs(SPEC.header) do
    tree:add_le(entry.field, tvb(entry.at, entry.bytes))
  end
  local function header(name)
    return value_of(tvb, head[name])
  end
  if header("magic") ~= SPEC.magic then
    return nil, "the magic number is another"
  elseif header("version") ~= SPEC.version then
    return nil, "protocol version " .. header("version") .. ", known is " .. SPEC.version
  elseif SPEC.streams[header("stream")] == nil then
    return nil, "stream " .. header("stream") .. " does not exist"
  elseif tvb:len() % 4 ~= 0 or 4 * header("words") ~= tvb:len() - SPEC.header_bytes then
    return nil, "the header says " .. header("words") .. " words, the packet has " .. tvb:len() .. " bytes"
  elseif header("words") > SPEC.max_payload_words then
    return nil, "a packet has " .. SPEC.max_payload_words .. " words at most"
  end
  return SPEC.streams[header("stream")]
end

local function dissect_data(tvb, tree, stream)
  local bytes, flags = tvb:len() - SPEC.header_bytes, tvb(10, 2):le_uint()
  local low, high = tvb(12, 4):le_uint(), tvb(16, 4):le_uint()
  local unit = stream.name == "TAG" and TWO_25 or SPEC.ticks_per_clock
  if low % unit ~= 0 then
    complain(tree, "the time base is no multiple of " .. string.format("%d", unit) .. " ticks")
  end
  if bytes == 0 then
    added(tree:add(f.heartbeat, tvb(8, 2), true))
    return "heartbeat"
  end
  local payload = tvb(SPEC.header_bytes, bytes)
  local items = tree:add(twinphase, payload, "payload")
  if stream.name == "STATUS" then
    dissect_status(payload, items)
    return "counters"
  elseif stream.name == "TAG" then
    return string.format("%d", dissect_tags(payload, items, low, high)) .. " tags"
  elseif stream.name == "HERALD_CODE" then
    added(items:add(f.coded, tvb(10, 2), flags))
    for at = 0, bytes - 4, 4 do
      items:add_le(f.word, payload(at, 4))
    end
    return string.format("%d", flags) .. " coded heralds"
  end
  if bytes % (4 * stream.words) ~= 0 then
    complain(tree, "the payload is no whole number of records of " .. stream.words .. " words")
  end
  return string.format("%d", dissect_records(payload, items, stream)) .. " records"
end

function twinphase.dissector(tvb, pinfo, root)
  pinfo.cols.protocol = "Twinphase"
  local tree = root:add(twinphase, tvb())
  if tvb:len() < SPEC.header_bytes then
    complain(tree, "shorter than a header")
    pinfo.cols.info = "malformed: shorter than a header"
    return tvb:len()
  end
  local stream, reason = dissect_header(tvb, tree)
  if stream == nil then
    complain(tree, reason)
    pinfo.cols.info = "malformed: " .. reason
    return tvb:len()
  end
  local about
  if stream.name == "REGISTER_REQUEST" or stream.name == "REGISTER_RESPONSE" then
    local link_port = twinphase.prefs.link_port
    local of_link = pinfo.src_port == link_port or pinfo.dst_port == link_port
    about = dissect_register(tvb, tree, stream.name == "REGISTER_REQUEST", of_link)
  elseif stream.name == "SUBSCRIBE" then
    local bytes = tvb:len() - SPEC.header_bytes
    if bytes > 0 then
      dissect_receipts(tvb(SPEC.header_bytes, bytes), tree)
    end
    about = string.format("%d", math.floor(bytes / 8)) .. " receipts"
  else
    about = dissect_data(tvb, tree, stream)
  end
  local sequence = string.format("%d", tvb(4, 4):le_uint())
  tree:append_text(", " .. stream.name .. " " .. sequence .. ", " .. about)
  pinfo.cols.info = stream.name .. " " .. sequence .. ", " .. about
  return tvb:len()
end

for _, port in ipairs(SPEC.ports) do
  DissectorTable.get("udp.port"):add(port, twinphase)
end
-- Nodes on other ports are known by the first word of their packets.
twinphase:register_heuristic("udp", function(tvb, pinfo, root)
  if tvb:len() < SPEC.header_bytes or tvb(head.magic.at, 2):le_uint() ~= SPEC.magic or tvb(head.version.at, 1):le_uint() ~= SPEC.version then
    return false
  end
  twinphase.dissector(tvb, pinfo, root)
  return true
end)
