"""The Verilated gateware as Python objects driven by numpy arrays."""

from .light import LightPath
from .node import NativeNode
from .output import Acted, Codes, NodeOutput
from .requests import NodeRegisters, answer_words, request_packet, write_requests
from .toolchain import Kind, ToolchainError
from .verilog import ACTUATOR_BITS

__all__ = [
    "ACTUATOR_BITS",
    "Acted",
    "Codes",
    "Kind",
    "LightPath",
    "NativeNode",
    "NodeOutput",
    "NodeRegisters",
    "ToolchainError",
    "answer_words",
    "request_packet",
    "write_requests",
]
