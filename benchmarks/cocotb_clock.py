"""cocotb side of `engines.py`: a clock and nothing else, for TWINPHASE_CYCLES cycles; the time goes into TWINPHASE_RESULT."""

import os
import time
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge


@cocotb.test()
async def clock(dut):
    """Every port is quiet; each rising edge is awaited, as a testbench would."""
    cycles = int(os.environ["TWINPHASE_CYCLES"])
    for name in ("rst", "rx__valid", "tx__ready", "sim_load", "i_valid"):
        getattr(dut, name).value = 0
    Clock(dut.clk, 8, unit="ns").start()
    began = time.process_time()
    for _ in range(cycles):
        await RisingEdge(dut.clk)
    Path(os.environ["TWINPHASE_RESULT"]).write_text(str(cycles / (time.process_time() - began)))
