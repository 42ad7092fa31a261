-- A stand-in for the part of Wireshark's Lua interface that the dissector uses. What a dissector adds to its tree is written down flat, in order.

base = {DEC = 1, HEX = 2}
expert = {group = {MALFORMED = 1, RESPONSE_CODE = 2}, severity = {ERROR = 1, WARN = 2}}
Pref = {string = function(_, default) return default end, uint = function(_, default, _) assert(default % 1 == 0) return default end}

local sizes = {bool = 1, uint8 = 1, uint16 = 2, uint32 = 4, uint64 = 8, int32 = 4, int64 = 8, double = 8, string = 0}
ProtoField = setmetatable({}, {__index = function(_, kind)
  assert(sizes[kind], "no field type " .. kind)
  return function(abbreviation, name)
    assert(string.match(abbreviation, "^[%w_.%-]+$"), "Wireshark refuses the name " .. abbreviation)
    assert(name ~= nil and name ~= "")
    return {abbreviation = abbreviation, kind = kind}
  end
end})
ProtoExpert = {new = function(abbreviation) return {expert = abbreviation} end}

UInt64 = {new = function(low, high)
  assert(low >= 0 and low < 2 ^ 32 and low % 1 == 0 and high >= 0 and high < 2 ^ 32 and high % 1 == 0, "UInt64.new takes two 32-bit numbers")
  return {low = low, high = high}
end}

local Range = {}
Range.__index = Range
local function range(data, at, length)
  at, length = at or 0, length or #data - (at or 0)
  assert(at >= 0 and at % 1 == 0 and length % 1 == 0 and length > 0 and at + length <= #data, "out of the packet: " .. at .. ", " .. length .. " of " .. #data)
  return setmetatable({data = string.sub(data, at + 1, at + length)}, Range)
end
Range.__call = function(self, at, length) return range(self.data, at, length) end
function Range:len() return #self.data end
function Range:le_uint()
  assert(#self.data <= 4, "le_uint of " .. #self.data .. " bytes")
  local value = 0
  for i = #self.data, 1, -1 do
    value = value * 256 + string.byte(self.data, i)
  end
  return value
end

local Tree = {}
Tree.__index = Tree
local function tree(log) return setmetatable({log = log}, Tree) end
function Tree:add(what, place, value)
  assert(getmetatable(place) == Range)
  if what.abbreviation then
    assert(value ~= nil)
    local number = type(value) == "number" and (what.kind ~= "double")
    assert(not number or (value % 1 == 0 and value >= 0 and value < 2 ^ (8 * sizes[what.kind])), what.abbreviation .. " cannot hold it")
    if what.kind == "uint64" then
      assert(value.low, "a 64-bit value is a UInt64")
      self.log[#self.log + 1] = {what.abbreviation, "uint64", value.low, value.high}
    else
      self.log[#self.log + 1] = {what.abbreviation, what.kind, value}
    end
  end
  return tree(self.log)
end
function Tree:add_le(what, place)
  assert(getmetatable(place) == Range)
  assert(sizes[what.kind] == place:len(), what.abbreviation .. " on " .. place:len() .. " bytes")
  self.log[#self.log + 1] = {what.abbreviation, "bytes", place.data, what.kind}
  return tree(self.log)
end
function Tree:append_text(text) assert(type(text) == "string") end
function Tree:set_generated() end
function Tree:add_proto_expert_info(what, text) self.log[#self.log + 1] = {what.expert, "expert", text or ""} end

local ports, heuristic, protocol = {}, nil, nil
local Protocol = {}
Protocol.__index = Protocol
function Protocol:register_heuristic(_, call) heuristic = call end
Proto = function(name)
  protocol = setmetatable({name = name, prefs = {}}, Protocol)
  return protocol
end
DissectorTable = {get = function() return {add = function(_, port, who) ports[port] = who end} end}

-- What the dissector makes of a packet that comes to this port (from the other one): nil if it does not want it, else the log and the info column.
function dissect(data, port, source)
  local log, pinfo, root = {}, {cols = {}, src_port = source or 40001, dst_port = port}, nil
  root = tree(log)
  local tvb = range(data .. "", 0, #data)
  if ports[port] or ports[source] then
    assert((ports[port] or ports[source]).dissector(tvb, pinfo, root) == #data)
  elseif not heuristic(tvb, pinfo, root) then
    return nil
  end
  return log, pinfo.cols.info
end
