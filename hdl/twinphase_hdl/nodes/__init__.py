"""Node tops: everything of a node wired together, and its Verilog with stable, flat port names.

Verilog ports (`verilog.node_verilog`). One clock; everything is synchronous to the rising edge of ``clk``; ``rst`` is a
synchronous reset, active high (all state starts from its reset value anyway). Widths in bits; vectors of channels or lanes
are packed with element 0 in the lowest bits. Module names: ``twinphase_server``, ``twinphase_client``.

Both nodes::

    input  clk                  input  rst
    input  rx_data 32           input  rx_last        input  rx_valid       output rx_ready
    output tx_data 32           output tx_last        output tx_valid       input  tx_ready
    input  sim_load
    input  sim_anchor_clock 51            input  sim_anchor_pulse 56          input  sim_anchor_remainder 49
    input  sim_anchor_frame_pulse 24      input  sim_anchor_frame 40          input  sim_anchor_window_frame 24
    input  sim_anchor_window 32           input  sim_anchor_dwindow_window 8  input  sim_anchor_dwindow 32
    output o_idle               (see "Node tops and simulation" of the contract; combinational of state, not of inputs)
    output o_clock 51           clock count now: an edge presented in this clock has time ``o_clock * 8192 + fine``

Server, ``frontend="simulation"``::

    input  i_valid 4            edge of channel c in this clock
    input  i_fine 52            4 x 13: ticks into the clock

Server, ``frontend="ddr"``::

    input  i_samples 8          4 x 2: the pin in the first (low bit) and second half of the clock

Server, ``rooms=True`` (for simulators; see `twinphase_hdl.core.rooms`)::

    input  <room>_clk, <room>_rst   of each room, beside clk and rst
    output o_awake 19               combinational of state, not of inputs; an edge of channel c on i_valid also wakes room
                                    channel_<c>, a word on rx every room

Client::

    output o_codes_valid
    output o_codes_pulse 56     pulse index of lane 0
    output o_codes_q 11*lanes   ``level << 8 | phase`` per lane, quantum band
    output o_codes_r 11*lanes   the same, reference band
    output o_drive_q 24*lanes   DAC words of the codes of two clocks ago: ``phase << 12 | intensity`` per lane, quantum band
    output o_drive_r 24*lanes   the same, reference band
    output o_emit_fraction 13   how late these pulses are to be emitted: ticks, in step with the codes

A transfer on rx (tx) happens in a clock in which valid and ready are both high at the rising edge. ``rx_ready`` does not
depend combinationally on any input; ``tx_*`` do not depend combinationally on ``tx_ready``.
"""
