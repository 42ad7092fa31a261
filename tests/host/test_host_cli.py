"""The command line: help without imports, missing extras, errors in one sentence, every command's JSON."""

import json
import subprocess
import sys
import textwrap
from importlib.metadata import EntryPoint

import pytest
from fake_node import SERVER, FakeNode, heralds, phases, random_tags, record_packets, tag_packets

from twinphase import cli
from twinphase_spec.packets import Stream

OWN = (
    "align",
    "devices",
    "dissector",
    "group",
    "labs",
    "measure",
    "monitor",
    "phase",
    "record",
    "sift",
    "tagger",
    "tdc",
)


def run(capsys, *arguments):
    try:
        code = cli.main(arguments)
    except SystemExit as end:  # argparse
        code = end.code
    return code, *capsys.readouterr()


@pytest.fixture
def extra_command(tmp_path, monkeypatch):
    """A command of another package, which notes when it is imported; its run needs a module that is missing."""
    for name in [name for name in sys.modules if name.startswith("extra_package")]:
        del sys.modules[name]  # of an earlier test's folder
    package = tmp_path / "extra_package" / "commands"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("raise SystemExit('the package was imported')")
    (package / "show.py").write_text('"""Show something.\n\nMore."""\nimport nothing_like_this\n')
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("show", "extra_package.commands.show [sim]", cli.COMMAND_GROUP)
    monkeypatch.setattr(cli, "entry_points", lambda group: [point])
    return package


def test_help_lists_commands_without_importing_them(capsys, extra_command):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert "  show " in out
    assert " Show something." in out
    assert all(name in out for name in OWN)


def test_help_imports_nothing_heavy():
    script = """
    import sys
    from twinphase import cli
    try:
        cli.main(["--help"])
    except SystemExit:
        pass
    heavy = {"numpy", "pyarrow", "rich", "scipy", "matplotlib", "serial", "pydantic", "amaranth"} & set(sys.modules)
    assert not heavy, heavy
    assert not [name for name in sys.modules if name.startswith("twinphase.commands")]
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, stdout=subprocess.DEVNULL)


def test_a_missing_extra_names_the_command_that_installs_it(capsys, extra_command):
    (extra_command.parent / "__init__.py").write_text("")
    assert run(capsys, "show") == (2, "", "pip install 'twinphase[sim]'\n")
    (extra_command / "show.py").write_text(
        '"""Show."""\ndef configure(parser): pass\ndef run(arguments):\n    import nothing_like_this\n'
    )
    sys.modules.pop("extra_package.commands.show", None)
    assert run(capsys, "show") == (2, "", "pip install 'twinphase[sim]'\n")


@pytest.mark.parametrize("name", OWN)
def test_every_command_has_help_with_an_example_and_json(capsys, name):
    code, out, _ = run(capsys, name, "--help")
    assert code == 0
    assert f"example:\n  twinphase {name}" in out
    assert "--json" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ("nothing",),
        ("labs", "no-such-lab"),
        ("monitor", "no-such-recording"),
        ("monitor", "nix:1"),
        ("measure", "no-such-recording", "rates"),
        ("measure", "udp://localhost:9", "rates", "--seconds", "nan"),
        ("measure", "udp://localhost:9", "g2", "--channels", "0", "1", "--plot", "x.gif"),
        ("tagger", "no-such-recording"),
        ("tdc", "nix:1"),
        ("record", "udp://no.such.host.invalid:1", "--out", "x"),
        ("record", "serial:///dev/no-such-port", "--out", "x"),
        ("record", "udp://localhost:9", "--out", "x", "--seconds", "-1"),
    ],
)
def test_known_errors_are_one_sentence_and_exit_code_2(capsys, arguments):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert len(err) > 20


def test_labs(capsys):
    code, out, _ = run(capsys, "labs", "--json")
    labs = {lab["name"]: lab for lab in json.loads(out)}
    assert code == 0
    seed = labs["seed-370km"]
    assert seed["length_km"] == 370
    assert seed["plob_per_slot"] == pytest.approx(1.4427 * 10 ** (-seed["loss_db"] / 10), rel=1e-3)
    assert seed["key_rate_per_slot"] > seed["plob_per_slot"]
    assert (seed["psi_source"], seed["psi_source_reason"]) == ("clicks", None)
    assert seed["psi_sigma_rad"] == pytest.approx(0.112, abs=0.005)
    assert seed["psi_lag_s"] <= 0.01
    assert "seed-370km" in run(capsys, "labs")[1]


def test_labs_says_why_psi_comes_from_windows(capsys, tmp_path):
    lab = tmp_path / "dim.toml"
    lab.write_text('base = "seed-370km"\nname = "dim"\n[clients.alice]\nreference_r = 0.001\n')
    code, out, err = run(capsys, "labs", str(lab))
    assert code == 0, err
    assert "dim: psi from windows: phase tracking of psi_r by clicks:" in " ".join(out.split())
    lab.write_text(lab.read_text() + '[tracking]\nsource = "clicks"\n')
    code, out, err = run(capsys, "labs", str(lab))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "allow no residual below" in err


def test_devices_finds_a_node_on_its_default_port(capsys, monkeypatch):
    with FakeNode() as node:
        monkeypatch.setattr("twinphase.reachable.LOCAL_PORTS", [node.socket.getsockname()[1]])
        code, out, _ = run(capsys, "devices", "--json")
    assert code == 0
    (found,) = [each for each in json.loads(out) if each["url"] == node.url.replace("127.0.0.1", "localhost")]
    assert (found["node"], found["fits"]) == ("server", True)
    assert found["what"].startswith("server node, 125 MHz")
    assert run(capsys, "devices")[0] == 0


def test_record_and_monitor(capsys, tmp_path):
    """A second of node time over UDP into a recording, then both shown by the monitor."""
    lists = [
        tag_packets(random_tags(20_000, 1, 8192 * 125 * 50), 100),
        record_packets(Stream.PHASE, phases(4000), 20, 1 << 17, 600_000),
        record_packets(Stream.HERALD, heralds(4000), 20, 1 << 17, 600_000),
    ]
    with FakeNode(paced=True) as node:
        node.outbox = [packet for group in zip(*lists, strict=True) for packet in group]
        for name, value in {"PERIOD": 8192 << 32, "FRAME_PULSES": 125, "FRAMES_PER_WINDOW": 100}.items():
            register = SERVER[name]
            for i in range(register.words):
                node.registers.words[register.address + i] = value >> 32 * i & 0xFFFFFFFF
        run_folder = str(tmp_path / "run")
        code, out, err = run(capsys, "record", node.url, "--out", run_folder, "--seconds", "0.5", "--json")
        assert (code, json.loads(out)["losses"]["records"]) == (0, 0), err
        code, out, _ = run(capsys, "record", node.url, "--out", run_folder)
        assert code == 2
    code, out, err = run(capsys, "monitor", run_folder, "--json")
    last = json.loads(out.splitlines()[-1])
    assert code == 0
    device = last["devices"][0]
    assert device["node"] == "server"
    assert device["totals"]["phase"] > 1000
    assert device["phase"]["visibility"] == pytest.approx(0.97, abs=0.01)
    assert device["phase"]["drift_rad_per_s"] == pytest.approx(30 / 65536 * 2 * 3.14159265 / 100e-6, rel=1e-3)
    assert device["losses"]["records"] == 0
    code, out, err = run(capsys, "monitor", run_folder)
    assert code == 0
    assert "visibility" in out
