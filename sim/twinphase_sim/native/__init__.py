"""The Verilated gateware as Python objects driven by numpy arrays."""

from .node import NativeNode
from .output import Codes, NodeOutput
from .requests import NodeRegisters, answer_words, request_packet, write_requests
from .toolchain import Kind, ToolchainError

__all__ = [
    "Codes",
    "Kind",
    "NativeNode",
    "NodeOutput",
    "NodeRegisters",
    "ToolchainError",
    "answer_words",
    "request_packet",
    "write_requests",
]
