"""`twinphase program`: the right tool, the right board's file, and one sentence where it cannot be done. Tools are fakes on PATH."""

import json
import os
import stat
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from twinphase import cli
from twinphase.transport.serial import DEFAULT_BAUD
from twinphase_firmware.boards import BAUD, BOARDS
from twinphase_firmware.loaders import INSTALL, LOADERS, NOTES, command_line

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """An empty PATH with a way to put fake tools there, and the command as pyproject.toml registers it."""
    tools = tmp_path / "bin"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][cli.COMMAND_GROUP]
    found = [EntryPoint(name, value, cli.COMMAND_GROUP) for name, value in points.items()]
    monkeypatch.setattr(cli, "entry_points", lambda group: found)

    def tool(name, code=0):
        path = tools / name
        path.write_text(
            f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {tmp_path}/called\necho 'loading 100%'\nexit {code}\n",
            encoding="utf-8",
        )
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return tmp_path, tool


def bitstream(folder, board, content=b"bits", **changes):
    """A file and its manifest as a build leaves them."""
    file = folder / f"{board}-timetagger{BOARDS[board].family.bitstream}"
    file.write_bytes(content)
    manifest = {
        "board": board,
        "node": "timetagger",
        "source_hash": "0x00000001",
        "bitstream": file.name,
        "bitstream_bytes": len(content),
    }
    file.with_suffix(".json").write_text(json.dumps(manifest | changes))
    return file


def run(capfd, *arguments):
    try:
        code = cli.main(["program", *map(str, arguments)])
    except SystemExit as end:  # argparse
        code = end.code
    return code, *capfd.readouterr()


def called(folder):
    return (folder / "called").read_text().split("\n")[:-1]


def test_every_board_has_a_tool_for_memory_and_for_flash():
    assert set(LOADERS) == set(BOARDS)
    assert set(NOTES) <= set(BOARDS)
    for loaders in LOADERS.values():
        for flash in (False, True):
            assert any(loader.options(flash) is not None for loader in loaders)
        assert {loader.tool for loader in loaders} <= set(INSTALL)
    with pytest.raises(ValueError, match="cannot load memory"):
        command_line(LOADERS["ice40-hx8k"][1], "x", "y", flash=False)


def test_the_host_opens_a_serial_port_as_boards_drive_it():
    assert DEFAULT_BAUD == BAUD


@pytest.mark.parametrize(
    ("board", "name", "memory", "flash"),
    [
        ("ecpix5-85f", "openFPGALoader", ["-b", "ecpix5", "-m"], ["-b", "ecpix5", "-f"]),
        ("ecpix5-85f", "ecpprog", ["-S"], []),
        ("ulx3s-85f", "openFPGALoader", ["-b", "ulx3s", "-m"], ["-b", "ulx3s", "-f"]),
        ("ulx3s-25f", "fujprog", ["-j", "sram"], ["-j", "flash"]),
        ("versa-ecp5-5g", "ecpprog", ["-S"], []),
        ("ice40-hx8k", "iceprog", ["-S"], []),
        ("cynthion", "apollo", ["configure"], ["flash-program"]),
    ],
)
def test_the_tool_that_is_there_gets_the_file(bench, capfd, board, name, memory, flash):
    folder, tool = bench
    tool(name)
    file = bitstream(folder, board)
    code, out, err = run(capfd, board, file)
    assert (code, err) == (0, "")
    assert called(folder) == [*memory, str(file)]
    assert "loading 100%" in out  # the tool's own words pass through
    assert "until power-off" in out
    code, out, _ = run(capfd, board, file, "--flash", "--options=--serial 'A 1'")
    assert code == 0
    assert called(folder) == [*flash, "--serial", "A 1", str(file)]
    assert "in the flash of" in out


def test_the_first_tool_is_taken_unless_another_is_asked_for(bench, capfd):
    folder, tool = bench
    tool("fujprog")
    first = tool("openFPGALoader")
    file = bitstream(folder, "ulx3s-85f")
    code, out, err = run(capfd, "ulx3s-85f", file, "--json")
    done = json.loads(out)
    assert code == 0
    assert done["command"] == [str(first), "-b", "ulx3s", "-m", str(file)]
    assert (done["loaded"], done["node"], done["source_hash"]) == (True, "timetagger", "0x00000001")
    assert "loading 100%" in err
    assert json.loads(run(capfd, "ulx3s-85f", file, "--json", "--tool", "fujprog")[1])["tool"] == "fujprog"
    code, out, err = run(capfd, "ulx3s-85f", file, "--tool", "iceprog")
    assert (code, out) == (2, "")
    assert "iceprog does not load the memory of ulx3s-85f; allowed: openFPGALoader, fujprog" in err


def test_a_board_on_udp_is_said_to_be_at_its_address(bench, capfd):
    folder, tool = bench
    tool("ecpprog")
    link = {"kind": "udp", "mac": "02:54:50:00:00:01", "ip": "192.168.1.50", "ports": [9750, 9751]}
    file = bitstream(folder, "ecpix5-85f", link=link)
    assert "it is at udp://192.168.1.50, which" in run(capfd, "ecpix5-85f", file)[1]
    assert json.loads(run(capfd, "ecpix5-85f", file, "--json")[1])["link"] == link
    asks = link | {"ip": "dhcp", "fallback_ip": "169.254.1.2", "host_name": "twinphase-000001"}
    said = run(capfd, "ecpix5-85f", bitstream(folder, "ecpix5-85f", link=asks))[1]
    assert "asks for an address by DHCP as twinphase-000001" in said
    assert "udp://169.254.1.2" in said
    file = bitstream(folder, "ecpix5-85f", link={"kind": "serial"})
    assert "`twinphase devices` lists the ports" in run(capfd, "ecpix5-85f", file)[1]


def test_a_board_on_usb_is_said_to_be_at_its_serial_number(bench, capfd):
    folder, tool = bench
    tool("apollo")
    file = bitstream(folder, "cynthion", link={"kind": "usb", "serial": "bench-2"})
    assert "with a cable in its socket AUX it is at usb://bench-2" in run(capfd, "cynthion", file)[1]


def test_loading_needs_no_amaranth():
    """A lab computer has the plain install."""
    script = "import sys; sys.modules['amaranth'] = None; import twinphase_firmware.program, twinphase_firmware.loaders"
    done = subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": os.pathsep.join(sys.path)}, check=False)
    assert done.returncode == 0


def test_a_dry_run_only_shows_the_command(bench, capfd):
    folder, tool = bench
    path = tool("iceprog")
    file = bitstream(folder, "ice40-hx8k")
    code, out, _ = run(capfd, "ice40-hx8k", file, "--dry-run")
    assert (code, out) == (0, f"{path} -S {file}\n")
    assert not (folder / "called").exists()
    assert json.loads(run(capfd, "ice40-hx8k", file, "--dry-run", "--json")[1])["loaded"] is False


def test_what_is_wrong_with_the_file_is_said_in_one_sentence(bench, capfd):
    folder, tool = bench
    tool("openFPGALoader")
    file = bitstream(folder, "ulx3s-85f")

    def refused(says, board="ulx3s-85f", path=file):
        code, out, err = run(capfd, board, path)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert says in err
        assert not (folder / "called").exists()

    refused("is for the board ulx3s-85f, not for ulx3s-25f", board="ulx3s-25f")
    refused("board nix is not known", board="nix")
    refused("is not a file", path=folder / "none.bit")
    refused("give the bitstream", path=file.with_suffix(".json"))
    file.write_bytes(b"bit")
    refused("has 3 bytes where its manifest says 4")
    for text, says in (
        ("{", "cannot be read"),
        ("[1]", "is not the manifest"),
        ('{"board": "ulx3s-85f"}', "is not the manifest"),
    ):
        file.with_suffix(".json").write_text(text)
        refused(says)
    bitstream(folder, "ulx3s-85f", bitstream="other.bit")
    refused("is the manifest of other.bit")
    file.with_suffix(".json").unlink()
    refused("has no manifest")
    assert run(capfd, "ulx3s-85f", file, "--force")[0] == 0
    assert called(folder) == ["-b", "ulx3s", "-m", str(file)]


def test_a_tool_that_is_missing_or_fails_is_said(bench, capfd):
    folder, tool = bench
    file = bitstream(folder, "ice40-hx8k")
    tool("openFPGALoader")  # which writes that board's flash only
    code, _, err = run(capfd, "ice40-hx8k", file)
    assert (code, err.count("\n")) == (2, 1)
    assert "no tool is on PATH that loads the memory of ice40-hx8k; install iceprog (iceprog: apt install" in err
    assert run(capfd, "ice40-hx8k", file, "--flash")[0] == 0
    tool("iceprog", code=3)
    code, out, err = run(capfd, "ice40-hx8k", file)
    assert code == 2
    assert "iceprog ended with code 3" in err
    assert "jumpers" in err
    assert "is in the" not in out
    os.chmod(folder / "bin" / "iceprog", 0o644)
    assert "no tool is on PATH" in run(capfd, "ice40-hx8k", file)[2]
